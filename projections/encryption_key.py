"""The key that the database keeps for data that is encrypted where the settings name no key."""

from psycopg import AsyncConnection

KEEP = "INSERT INTO telemetry.encryption_key (key) VALUES (%s) ON CONFLICT DO NOTHING"
READ = "SELECT key FROM telemetry.encryption_key"


async def kept_key(connection: AsyncConnection, new: str) -> str:
    """The key there is; the new one is kept where there is none yet."""
    await connection.execute(KEEP, [new])
    row = await (await connection.execute(READ)).fetchone()
    if row is None:
        raise LookupError("The key that was just kept is gone")
    return str(row[0])

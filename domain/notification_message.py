"""What a notification says: the template of a policy, with what is known of the run in the place of its fields."""

from collections.abc import Mapping
from string import Formatter

FIELDS = (
    "flow_run_notification_policy_id",
    "flow_id",
    "flow_name",
    "flow_run_url",
    "flow_run_id",
    "flow_run_name",
    "flow_run_parameters",
    "flow_run_state_type",
    "flow_run_state_name",
    "flow_run_state_timestamp",
    "flow_run_state_message",
)
"""What a template may name in braces. Source: server 2.20.25."""

DEFAULT = """\
The run {flow_run_name} of the flow {flow_name} is now {flow_run_state_name}, since {flow_run_state_timestamp}.

What the state says: {flow_run_state_message}
The run: {flow_run_url} ({flow_run_id})
The flow: {flow_id}
"""

SUBJECT = "A flow run is {flow_run_state_name}: {flow_run_name}"

LONGEST_TEMPLATE = 10_000
"""Characters of a template."""


def check_template(template: str) -> None:
    """Raise ValueError for a template that cannot be filled in, and for one that asks for more than plain fields.

    Formats and attributes are refused: by them a few characters could ask for gigabytes, or for what is none of theirs.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"A message template has at most {LONGEST_TEMPLATE} characters")
    for _, field, form, conversion in Formatter().parse(template):
        if field is None:
            continue
        if field not in FIELDS:
            raise ValueError(f"Invalid template variable provided: '{field}'")
        if form or conversion:
            raise ValueError(f"The template variable '{field}' takes no format")


def filled_in(template: str, values: Mapping[str, str]) -> str:
    """A template that was checked, with values in the place of its fields."""
    pieces = []
    for text, field, _, _ in Formatter().parse(template):
        pieces.append(text)
        if field is not None:
            pieces.append(values[field])
    return "".join(pieces)

-- One row a notification policy. `doc` is the document by which the API shows it; `sealed_url` and `signing_secret` are
-- encrypted.
CREATE TABLE read.notification_policies (
    id                uuid    PRIMARY KEY,
    is_active         boolean NOT NULL,
    block_document_id uuid,
    sealed_url        text,
    signing_secret    text    NOT NULL,
    doc               text    NOT NULL
);

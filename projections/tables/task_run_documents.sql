-- One row a task run: the document by which the API shows it, less what moves with the clock.
-- Rows are small enough for a page to hold several, and updates stay on their page (fillfactor).
CREATE TABLE read.task_run_documents (
    id  uuid PRIMARY KEY,
    doc text NOT NULL
) WITH (fillfactor = 60, toast_tuple_target = 8160);
-- What people put into runs is not to be kept in statistics, where erasing would not find it.
ALTER TABLE read.task_run_documents ALTER COLUMN doc SET STATISTICS 0;

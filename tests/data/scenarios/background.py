"""a task that runs in the background, and the process that serves it, used by q_background"""
from prefect import task
@task(name="q-add", persist_result=True)
def add(a, b): return a + b
if __name__ == "__main__":
    from prefect.task_worker import serve
    serve(add)

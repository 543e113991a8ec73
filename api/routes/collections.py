"""What is known of the types of work pools, for clients that make one of a type by name."""

from typing import Any

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from domain.work_pool import AGENT_TYPE

endpoints = Endpoints()


def _text(title: str, description: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "description": description, "type": "string", **more}


def _texts(title: str, description: str) -> dict[str, Any]:
    return {"title": title, "description": description, "type": "object", "additionalProperties": {"type": "string"}}


PROCESS_VARIABLES = {
    "name": _text("Name", "What the process is called."),
    "env": _texts("Environment Variables", "Variables that are set in the environment of the process."),
    "labels": _texts("Labels", "Labels of the process."),
    "command": _text("Command", "The command that runs the flow; where there is none, the worker knows it."),
    "stream_output": {
        "title": "Stream Output",
        "description": "Whether the worker prints what the process prints.",
        "type": "boolean",
        "default": True,
    },
    "working_dir": _text(
        "Working Directory", "The directory in which the process runs; by default a new one.", format="path"
    ),
}
"""What can be said of a run that a process worker starts; the names are those that the worker of 2.20 and 3.x reads."""

WORKERS: dict[str, dict[str, dict[str, Any]]] = {
    "prefect": {
        "process": {
            "type": "process",
            "display_name": "Process",
            "description": "Runs each flow in a process of its own, on the machine of the worker.",
            "install_command": "pip install prefect",
            "default_base_job_configuration": {
                "job_configuration": {name: f"{{{{ {name} }}}}" for name in PROCESS_VARIABLES},
                "variables": {"type": "object", "properties": PROCESS_VARIABLES},
            },
            "documentation_url": "",
            "logo_url": "",
            "is_beta": False,
        },
        AGENT_TYPE: {
            "type": AGENT_TYPE,
            "display_name": "Prefect Agent",
            "description": "Lets agents of 2.x run flows, in the infrastructure of each deployment.",
            "install_command": "pip install 'prefect<3'",
            "default_base_job_configuration": {},
            "documentation_url": "",
            "logo_url": "",
            "is_beta": False,
        },
    }
}
"""By package and type of pool. Types that are not here are known to the clients that have their package installed."""

VIEWS: dict[str, Any] = {
    "aggregate-worker-metadata": WORKERS,
    "aggregate-block-metadata": {},
    "aggregate-flow-metadata": {},
    "demo-flows": {},
}


@endpoints.add(
    "GET",
    "/collections/views/{view}",
    "Read what is known of types of work pools",
    answers={200: "What is known, by package", 404: "There is no such view"},
)
async def read_view(call: Call) -> Answer:
    view = call.text("view")
    if view not in VIEWS:
        raise Refused(404, f"View {view} not found in registry")
    return answer(VIEWS[view])

"""The tools for specs: they need no flow and no repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.app.estimating import estimate_row, of_flow, of_spec
from stratum_git.app.speckit import compile_folder
from stratum_git.app.stepping import in_order, spec_error
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workflows import Offered, list_workflows, save_draft
from stratum_git.core.parse import load_spec
from stratum_git.core.speckit import TaskFile
from stratum_git.model.ids import FlowId
from stratum_git.server.boundary import Answer, shortened, tool

LONGEST_TEXT = 30_000
"""Characters of a numbered plan."""
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def register(server: MCPServer[Any], around: Surroundings) -> None:
    """Adds the tools to a server that was started in *around*."""
    _register_estimate(server, around)

    @server.tool(annotations=READS)
    @tool
    def stratum_validate(spec: str) -> Answer:
        """Check a .stratum.yaml spec, given as text. Names every problem at once, with line and hint."""
        loaded = load_spec(spec)
        errors = [spec_error(problem) for problem in in_order(loaded.problems)]
        warnings = [spec_error(problem) for problem in loaded.warnings]
        return {"valid": not errors, "errors": errors, **({"warnings": warnings} if warnings else {})}

    @server.tool(annotations=READS)
    @tool
    def stratum_list_workflows(workflows_dir: str = ".") -> Answer:
        """List the workflows that *.stratum.yaml files of a directory offer, and what is wrong with them."""
        found, errors = list_workflows(around.cwd / workflows_dir)
        return {"workflows": [_workflow(one) for one in found], "errors": list(errors)}

    @server.tool(annotations=READS)
    @tool
    def stratum_compile_speckit(
        tasks_dir: str, flow_name: str = "tasks", *, parallel: bool = False
    ) -> Answer:
        """Compile a directory of task files (*.md with acceptance criteria) into a spec, as YAML.

        parallel: files marked [P] become tasks that run at the same time (version 0.4).
        """
        made = compile_folder(_folder(around, tasks_dir), flow_name, parallel=parallel)
        steps = [_step(task) for task in made.tasks]
        return {"status": "ok", "yaml": made.text, "flow_name": flow_name, "steps": steps}

    @server.tool(annotations=WRITES)
    @tool
    def stratum_draft_pipeline(draft: dict[str, Any], project_dir: str = ".") -> Answer:
        """Save a draft of a pipeline as .stratum/pipeline-draft.json of a project, replacing the last one."""
        return {"status": "saved", "path": str(save_draft(_folder(around, project_dir), draft))}


def _register_estimate(server: MCPServer[Any], around: Surroundings) -> None:
    @server.tool(annotations=READS)
    @tool
    def stratum_estimate(
        spec: str = "",
        flow: str | None = None,
        inputs: dict[str, Any] | None = None,
        flow_id: str | None = None,
    ) -> Answer:
        """Say, before it is done, what a spec will do and may take: a numbered plan in plain words (`text`).

        Agents, time and cost as low, likely, high, each with its source; null is not known. With flow_id
        instead of a spec: what is left of a flow, with the task graph that was planned in it.
        """
        if flow_id is not None:
            return _shown({"flow_id": flow_id, **estimate_row(of_flow(around, FlowId(flow_id)))})
        return _shown(estimate_row(of_spec(around, spec, flow, inputs or {}, "client")))


def _shown(answer: Answer) -> Answer:
    """Returns an estimate that a client can take in: its words, then as many steps as there is room for."""
    text = str(answer["text"])
    told = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\n... (cut)"
    return shortened({**answer, "text": told})


def _folder(around: Surroundings, name: str) -> Path:
    return around.cwd / name


def _workflow(offered: Offered) -> Answer:
    workflow = offered.workflow
    inputs = {}
    for name, given in workflow.input.items():
        inputs[name] = {"type": given.type, "required": given.required}
        if given.default is not None:
            inputs[name]["default"] = given.default
    return {
        "name": workflow.name,
        "description": workflow.description,
        "input": inputs,
        "path": str(offered.path),
    }


def _step(task: TaskFile) -> Answer:
    return {
        "id": task.id,
        "title": task.title,
        "parallel": task.parallel,
        "ensures": list(task.ensures),
        "judgment": list(task.judgment),
    }

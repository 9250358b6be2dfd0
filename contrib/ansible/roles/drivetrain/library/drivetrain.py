#!/usr/bin/python
"""Runs drivetrain, and tells Ansible what came of it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: drivetrain
short_description: Plan, build, prove, publish, promote and roll back driver repositories
description:
  - Runs C(drivetrain) and reports a change exactly where something was built or is served now that was not before.
  - In check mode it plans, and reports a change exactly where there is something to do. With C(--diff) it shows what.
  - Secrets are handed to the program in its environment. They are in no argument, here or on the host.
options:
  command:
    description: What to do.
    type: str
    choices: [plan, build, push, run, promote, rollback]
    required: true
  program:
    description: The program.
    type: path
    default: /usr/local/bin/drivetrain
  config:
    description: The configuration.
    type: path
    required: true
  state:
    description: The state directory; drivetrain's own default where it is not given.
    type: path
  set:
    description: Values that take the place of the configuration's, by their keys with dots between them.
    type: dict
    default: {}
  environment:
    description: Variables for the program, such as those that the configuration names as C(${NAME}).
    type: dict
    default: {}
  why:
    description: Why, for the repository's history.
    type: str
    default: Ansible
  keep_going:
    description: Go on with the components that do not need one that failed.
    type: bool
    default: true
  locked:
    description: Refuse if anything differs from the lock file beside the configuration.
    type: bool
    default: false
  undo_rollback:
    description: Publish also what somebody has rolled back.
    type: bool
    default: false
  kernels:
    description: The kernels that are promoted, or the one that is rolled back.
    type: list
    elements: str
    default: []
  from_channel:
    description: The channel to promote from.
    type: str
  to_channel:
    description: The channel to promote to, or the one to roll back.
    type: str
  to_version:
    description: The version to return to.
    type: int
author:
  - The drivetrain authors
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Build and publish
  drivetrain:
    command: run
    config: /etc/drivetrain/rocky-9.yaml
    environment:
      ARK_PASSWORD: "{{ secrets_ark_password }}"
"""

RETURN = r"""
result:
  description: What was done, or would be. With several cells, of the first; all of them are in C(cells).
  returned: always
  type: dict
  sample:
    cell: rocky-9.6/3.2.1/5.14.0-570.12.1.el9_6.x86_64/x86_64
    kernel: 5.14.0-570.12.1.el9_6.x86_64
    driver: 3.2.1
    url: https://repo.example.com/drivers/rocky-9.6/3.2.1/5.14.0-570.12.1.el9_6.x86_64/x86_64/
    version: 4
cells:
  description: The same of every cell.
  returned: always
  type: list
exit:
  description: What the program ended with.
  returned: always
  type: int
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

# Nothing that is read has any reason to be larger.
LIMIT = 64 * 1024 * 1024
# The exit code for: some of several cells succeeded.
SOME = 10


class Program:
    """The program, with the options that all commands take."""

    def __init__(self, module):
        self.module = module
        given = module.params
        self.base = [given["program"], "--config", given["config"], "--json"]
        if given["state"]:
            self.base += ["--state", given["state"]]
        for key in sorted(given["set"]):
            self.base += ["--set", "%s=%s" % (key, in_yaml(given["set"][key]))]

    def call(self, *arguments):
        """The exit code, and the JSON values that it printed: one, or one a line."""
        environment = dict((name, str(value)) for name, value in self.module.params["environment"].items())
        code, out, err = self.module.run_command(self.base + list(arguments), environ_update=environment)
        if len(out) > LIMIT:
            self.module.fail_json(msg="drivetrain printed %d bytes, and that cannot be" % len(out), exit=code)
        return code, documents(out), err


def in_yaml(value):
    """A value for --set: as it stands, or as YAML, of which JSON is a part."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def documents(text):
    """The JSON values of a text, as far as it is JSON."""
    decoder = json.JSONDecoder()
    found = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        try:
            value, position = decoder.raw_decode(text, position)
        except ValueError:
            break
        found.append(value)
    return found


def failures(value, name=None):
    """The failures in what was printed: one, or several cells', each with the cell's name."""
    if isinstance(value, list):
        return [found for one in value for found in failures(one, name)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("error"), dict):
        return [(value.get("name", name), value["error"])]
    return failures(value.get("cells", []))


def failure(code, values, err):
    """The first errors, in the words of the program."""
    lines = []
    for name, error in failures(values):
        lines.append(("%s: " % name if name else "") + error.get("message", ""))
        lines += ["because: %s" % cause for cause in error.get("causes", [])]
        if error.get("next"):
            lines.append("next: %s" % error["next"])
    return "\n".join(lines) or err.strip() or "drivetrain ended with code %d, and said nothing" % code


def component_errors(values):
    """The components that did not build, each with its first error."""
    return dict(
        ("/".join(filter(None, [event.get("of"), event["component"]])), event.get("error", ""))
        for event in values
        if isinstance(event, dict)
        and event.get("event") == "component-finished"
        and event.get("outcome") == "failed"
    )


def plans(value):
    """All plans of what `drivetrain plan` printed: one, or several cells'."""
    if isinstance(value, list):
        return [plan for one in value for plan in plans(one)]
    if not isinstance(value, dict):
        return []
    if "publication" in value and "cell" in value:
        return [value]
    return [plan for one in value.values() for plan in plans(one)]


def cell_name(cell):
    return "/".join(str(cell[part]) for part in ("train", "driver", "kernel", "arch") if part in cell)


def of_plan(plan):
    """What is told of a plan."""
    state = plan["publication"]["state"]
    return {
        "cell": cell_name(plan["cell"]),
        "kernel": plan["kernel"]["release"],
        "driver": plan["cell"].get("driver"),
        "target": plan["publication"]["target"],
        "path": plan["publication"]["path"],
        "served": state["is"],
        "version": state.get("version"),
        "build": [one["name"] for one in plan["components"] if one["action"]["do"] == "build"],
        "held_back": [
            {"kernel": held["release"], "component": held["component"], "error": held["error"]}
            for held in plan["kernel"].get("held_back", [])
        ],
    }


def does(command, cell):
    """Whether the command has anything to do for a cell that is planned."""
    if command == "build":
        return cell["served"] != "current" and bool(cell["build"])
    return cell["served"] != "current"


def difference(command, cells):
    """What is there, and what would be."""
    before, after = [], []
    for cell in cells:
        version = "version %s" % cell["version"] if cell["version"] else "nothing"
        before.append("%s serves %s" % (cell["path"], version))
        if not does(command, cell):
            after.append(before[-1])
            continue
        after += ["build %s for %s" % (name, cell["kernel"]) for name in cell["build"]]
        if command != "build":
            after.append("%s serves a new version" % cell["path"])
        else:
            after.append(before[-1])
    return {
        "before": "".join(line + "\n" for line in before),
        "after": "".join(line + "\n" for line in after),
        "before_header": "served",
        "after_header": "planned",
    }


def make_plan(module, program):
    """The exit code, and what the plan says of each cell."""
    arguments = ["plan", "--locked"] if module.params["locked"] else ["plan", "--no-lock"]
    code, values, err = program.call(*arguments)
    # Of several cells some can be planned, and these are not held up by the others: the run tells of those again.
    goes_on = code == SOME and not module.check_mode and module.params["command"] != "plan"
    if code != 0 and not goes_on:
        module.fail_json(msg=failure(code, values, err), exit=code)
    cells = [of_plan(plan) for plan in plans(values)]
    if not cells:
        module.fail_json(msg="drivetrain plan printed no plan: is its version that of this module?", exit=code)
    return code, cells


def follow(cells, values):
    """Adds what the events of a run tell to what was planned; whether anything changed."""
    changed = False
    # What is told of several cells at once is told with their names in the configuration.
    by_name = {}
    for event in values:
        kind = event.get("event") if isinstance(event, dict) else None
        name = event.get("of") if kind else None
        if kind == "planned":
            by_name[name] = cell_of(cells, event["cell"])
        elif kind == "component-finished" and event.get("outcome") == "built":
            changed = True
        elif kind == "published":
            changed = changed or not event["unchanged"]
            by_name.get(name, cells[0]).update(
                url=event["location"], version=event["version"], repo_file=event.get("repo_file")
            )
    return changed


def cell_of(cells, cell):
    """The cell that was planned. Another than before is of an older kernel: the driver does not build for the newest."""
    name = cell_name(cell)
    for known in cells:
        if known["cell"] == name:
            return known
    other = {"cell": name, "kernel": cell["kernel"], "driver": cell.get("driver")}
    cells.insert(0, other)
    return other


def build_and_publish(module, program):
    command = module.params["command"]
    planned, cells = make_plan(module, program)
    needed = any(does(command, cell) for cell in cells)
    result = {"cells": cells, "result": cells[0], "exit": 0, "changed": needed, "diff": difference(command, cells)}
    if command == "plan":
        result["changed"] = needed and module.check_mode
        result["needed"] = needed
        return result
    # To build what is served already would be of no use to anybody.
    if module.check_mode or (command == "build" and not needed and planned == 0):
        return result
    arguments = [command]
    if module.params["locked"]:
        arguments.append("--locked")
    if command != "push" and module.params["keep_going"]:
        arguments.append("--keep-going")
    if command != "build":
        arguments += ["--why", module.params["why"]]
        if module.params["undo_rollback"]:
            arguments.append("--undo-rollback")
    code, values, err = program.call(*arguments)
    result["exit"] = code
    result["changed"] = follow(cells, values)
    result["result"] = cells[0]
    if code != 0:
        module.fail_json(msg=failure(code, values, err), components=component_errors(values), **result)
    return result


def change_what_is_served(module, program):
    """Promotes or rolls back; the program itself says what would come of it."""
    given = module.params
    arguments = [given["command"]] + given["kernels"]
    if given["command"] == "promote":
        for option, value in (("--from", given["from_channel"]), ("--to", given["to_channel"])):
            arguments += [option, value] if value else []
        if given["undo_rollback"]:
            arguments.append("--undo-rollback")
    else:
        arguments += ["--channel", given["to_channel"]] if given["to_channel"] else []
        arguments += ["--to", str(given["to_version"])] if given["to_version"] is not None else []
    arguments += ["--why", given["why"]]
    code, values, err = program.call(*(arguments + ["--dry-run"]))
    if code != 0:
        module.fail_json(msg=failure(code, values, err), exit=code)
    rows = [row for value in values for row in (value if isinstance(value, list) else [value])]
    # A rollback that names the version that is served anyway has nothing to do.
    needed = any(row["to"] is None or row["from"] != row["to"] for row in rows)
    result = {
        "cells": rows,
        "result": rows[0],
        "exit": 0,
        "changed": needed,
        "diff": {
            "before": "".join("%s serves %s\n" % (row["path"], row["from"] or "nothing") for row in rows),
            "after": "".join("%s serves %s\n" % (row["path"], row["to"] or "the one before") for row in rows),
        },
    }
    if module.check_mode or not needed:
        return result
    code, values, err = program.call(*arguments)
    if code != 0:
        result["exit"] = code
        module.fail_json(msg=failure(code, values, err), **dict(result, changed=False))
    rows = [row for value in values for row in (value if isinstance(value, list) else [value])]
    result.update(cells=rows, result=rows[0])
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "command": {
                "type": "str",
                "required": True,
                "choices": ["plan", "build", "push", "run", "promote", "rollback"],
            },
            "program": {"type": "path", "default": "/usr/local/bin/drivetrain"},
            "config": {"type": "path", "required": True},
            "state": {"type": "path"},
            "set": {"type": "dict", "default": {}},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "why": {"type": "str", "default": "Ansible"},
            "keep_going": {"type": "bool", "default": True},
            "locked": {"type": "bool", "default": False},
            "undo_rollback": {"type": "bool", "default": False},
            "kernels": {"type": "list", "elements": "str", "default": []},
            "from_channel": {"type": "str"},
            "to_channel": {"type": "str"},
            "to_version": {"type": "int"},
        },
        supports_check_mode=True,
    )
    # What does not know a terminal or colours needs no telling; a builder's words must be in one language.
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    program = module.params["program"]
    if not os.access(program, os.X_OK):
        module.fail_json(msg="%s cannot be run; the role installs it: drivetrain_program_source" % program, exit=127)
    if module.params["command"] in ("promote", "rollback"):
        result = change_what_is_served(module, Program(module))
    else:
        result = build_and_publish(module, Program(module))
    module.exit_json(**result)


if __name__ == "__main__":
    main()

"""The alerts, the runbooks and the dashboard belong together, and to what the services tell."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docs import of_the_directory, of_the_invitation_service
from deploy.local.programs import REPOSITORY, promtool

RULES = REPOSITORY / "deploy/prometheus/alerts.yml"
RULE_TESTS = REPOSITORY / "deploy/prometheus/alerts_test.yml"
DASHBOARD = REPOSITORY / "deploy/grafana/convive.json"
RUNBOOKS = REPOSITORY / "docs/runbooks/README.md"
OF_PROMETHEUS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
PARTS = ("For people", "Look", "Do", "Afterwards")
_OF_A_TARGET = {"job", "instance"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}
DESCRIBED = of_the_directory() | of_the_invitation_service()


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with where it stands."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for series in test["input_series"]:
            yield test["name"], series["series"]


def labels_of(name: str) -> set[str]:
    """The labels a metric has, or KeyError when nobody tells it."""
    if name in OF_PROMETHEUS:
        return set(_OF_A_TARGET)
    if name in RECORDED:
        grouped = re.match(
            r"\s*(?:\w+\([\d., ]*)*\s*(?:sum|max|histogram_quantile).*? by \(([^)]*)\)", RECORDED[name]["expr"]
        )
        return set(re.split(r", *", grouped[1])) if grouped else set()
    for end in ("_bucket", "_count", "_sum"):
        if name.endswith(end) and DESCRIBED.get(name.removesuffix(end), None):
            return {*DESCRIBED[name.removesuffix(end)].labels, *_OF_A_TARGET, *(["le"] if end == "_bucket" else [])}
    return {*DESCRIBED[name].labels, *_OF_A_TARGET}


@pytest.mark.parametrize("command", [["check", "rules", RULES], ["test", "rules", RULE_TESTS]])
def test_promtool_finds_no_fault(command: list[str | Path]) -> None:
    run = subprocess.run([promtool(), *command], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_can_read_what_the_dashboard_asks_for(tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    rules = [{"record": f"dashboard:{number}", "expr": expression} for number, expression in enumerate(asked)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_is_tested_to_fire_and_not_to_fire(alert: str) -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    expected = [case["exp_alerts"] for test in tests for case in test["alert_rule_test"] if case["alertname"] == alert]
    assert any(expected), "no test in which it fires"
    assert not all(expected), "no test in which it does not"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_leads_to_its_section_of_the_runbooks(rule: dict[str, Any]) -> None:
    said = rule["annotations"]
    assert said["summary"]
    assert said["description"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    file, _, anchor = said["runbook_url"].partition("#")
    assert (REPOSITORY / file, anchor) == (RUNBOOKS, rule["alert"].lower())
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL))
    for part in PARTS:
        assert re.search(rf"^\*\*{part}\.\*\* \S", sections[rule["alert"]], re.MULTILINE), part
    assert set(sections) == {one["alert"] for one in ALERTS}, "a section of an alert that is gone"


def test_everything_asked_for_in_rules_and_dashboard_is_told_by_a_service_with_those_labels() -> None:
    seen: set[str] = set()
    for where, expression in expressions():
        text = re.sub(r'"[^"]*"', '""', expression)
        names = set(re.findall(r"\b(?:convive[\w:]+|up|process_\w+)\b", text))
        assert names, where
        known: set[str] = set()
        for name in names:
            try:
                known |= labels_of(name)
            except KeyError:
                pytest.fail(f"{where}: nobody tells {name}")
        asked = {
            label for inside in re.findall(r"\{([^}]*)\}", text) for label in re.findall(r"(\w+)\s*(?:=|!)", inside)
        }
        asked |= {
            label for inside in re.findall(r"\b(?:by|on) \(([^)]*)\)", text) for label in re.findall(r"\w+", inside)
        }
        assert asked <= known, f"{where}: {asked - known}"
        seen |= names
    assert not set(RECORDED) - seen, "recorded and not used"


def test_the_documentation_links_to_what_exists() -> None:
    text = RUNBOOKS.read_text()
    anchors = {heading.lower() for heading in re.findall(r"^## (\w+)", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= anchors
    for name in re.findall(r"\bconvive_\w+", text):
        assert labels_of(name)

"""The alerts, the runbooks and the dashboard belong together, and to what the services tell."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
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
# What rules and dashboard look for; other labels may hold anything.
_VALUES = {
    "job": "convive-invitation",
    "state": "pending",
    "from": "pending",
    "to": "sent",
    "route": "/i/{token}",
    "status": "500",
    "reading": "parked",
}


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


def told() -> Iterator[dict[str, str]]:
    """An hour of every metric as Prometheus keeps it, a series each; a histogram has two buckets."""
    kinds = dict.fromkeys(OF_PROMETHEUS, "gauge") | {name: one.type for name, one in DESCRIBED.items()}
    for name, kind in kinds.items():
        if kind == "histogram":
            for le in ("0.1", "+Inf"):
                yield {"series": f"{name}_bucket{_labels(labels_of(name) | {'le'}, le=le)}", "values": "0+1x60"}
            for end in ("_count", "_sum"):
                yield {"series": f"{name}{end}{_labels(labels_of(name))}", "values": "0+1x60"}
        else:
            yield {"series": f"{name}{_labels(labels_of(name))}", "values": "1x60" if kind == "gauge" else "0+1x60"}


def _labels(names: Iterable[str], **values: str) -> str:
    inside = (f'{name}="{(_VALUES | values).get(name, "any")}"' for name in sorted(names))
    return f"{{{', '.join(inside)}}}"


def test_every_query_of_the_dashboard_answers_and_has_the_labels_that_its_legend_shows(tmp_path: Path) -> None:
    queries: list[dict[str, Any]] = []
    for panel in panels():
        for target in panel.get("targets", ()):
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            expected = [{"labels": _labels(shown), "value": 1}]
            count = f"count by ({', '.join(shown)}) ({target['expr']})"
            queries.append({"expr": count, "eval_time": "59m", "exp_samples": expected})
    test = {"interval": "1m", "input_series": list(told()), "promql_expr_test": queries}
    file = tmp_path / "dashboard_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [test]}))
    run = subprocess.run([promtool(), "test", "rules", file], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_panels_of_the_dashboard_are_told_apart_do_not_overlap_and_ask_the_chosen_source() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for place in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(place, panel["title"]) == panel["title"]
        targets = panel.get("targets", [])
        assert len({target["refId"] for target in targets}) == len(targets), panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


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

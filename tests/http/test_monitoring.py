"""docs/monitoring.md and examples/prometheus name what there is, and each alert knows its cause."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from authsvc.observe import metrics

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "prometheus"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
RULES = yaml.safe_load((EXAMPLES / "authsvc.rules.yml").read_text())["groups"][0]["rules"]

PROMTOOL = shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(
    not PROMTOOL, reason="needs promtool (Debian: apt-get install prometheus)"
)

# promtool's notation has none: a rule of its own makes it.
NOT_A_NUMBER = "NaN"

# The series of a quiet replica, scraped every 15 s for two hours, in promtool's notation.
CALM = {
    'up{job="authsvc", instance="a"}': "1x480",
    'authsvc_http_requests_total{instance="a", route="/auth/refresh", status="2xx"}': "0+1500x480",
    'authsvc_http_requests_total{instance="a", route="/auth/login", status="5xx"}': "0+1x480",
    'authsvc_http_requests_total{instance="a", route="/readyz", status="5xx"}': "3x480",
    'authsvc_http_request_duration_seconds_bucket{instance="a", route="/auth/refresh", le="0.005"}'
    "": "0+1490x480",
    'authsvc_http_request_duration_seconds_bucket{instance="a", route="/auth/refresh", le="0.5"}'
    "": "0+1500x480",
    'authsvc_http_request_duration_seconds_bucket{instance="a", route="/auth/refresh", le="+Inf"}'
    "": "0+1500x480",
    'authsvc_refresh_total{instance="a", outcome="rotated"}': "0+1500x480",
    'authsvc_refresh_total{instance="a", outcome="reused"}': "0x400 1x80",
    'authsvc_refresh_total{instance="a", outcome="bad_mac"}': "0x450 4x30",
    'authsvc_refresh_total{instance="a", outcome="unknown_key"}': "0x450 4x30",
    'authsvc_refresh_total{instance="a", outcome="healed"}': "0x480",
    'authsvc_refresh_total{instance="a", outcome="far_ahead"}': "0x480",
    'authsvc_refresh_total{instance="a", outcome="database_unavailable"}': "7x480",
    'authsvc_login_total{instance="a", outcome="succeeded"}': "0+30x480",
    'authsvc_login_total{instance="a", outcome="invalid_credentials"}': "0+20x480",
    'authsvc_login_total{instance="a", outcome="too_many_attempts"}': "0+1x480",
    'authsvc_login_total{instance="a", outcome="overloaded"}': "2x480",
    'authsvc_login_total{instance="a", outcome="database_unavailable"}': "0x480",
    'authsvc_password_hashing_longest_seconds{instance="a"}': "0.05x480",
    'authsvc_key_problems_total{instance="a"}': "1x480",
    'authsvc_descriptors_left{instance="a"}': "900x480",
    'authsvc_log_lines_dropped_total{instance="a"}': "5x480",
    'authsvc_signing_key_age_seconds{instance="a"}': "86400+15x480",
    'authsvc_signing_key_next_activation_seconds{instance="a"}': NOT_A_NUMBER,
    'authsvc_revocations_age_seconds{instance="a"}': "0.2x480",
    'authsvc_revocations{instance="a"}': "12x480",
}

# What is different when an alert must be told; the keys are parts of a series' name.
CAUSES: dict[str, dict[str, str]] = {
    "AuthsvcDown": {"up{": "1x460 0x20"},
    "AuthsvcNotReady": {'"/readyz"': "3x460 4+1x20"},
    "AuthsvcServerErrors": {'"/auth/login", status="5xx"': "0+1x400 400+40x80"},
    "AuthsvcSlowRefresh": {'le="0.005"': "0+1000x480", 'le="0.5"': "0+1450x480"},
    "AuthsvcDatabaseUnavailable": {'refresh_total{instance="a", outcome="database': "0x460 1+1x20"},
    "AuthsvcDatabaseWentBack": {'"far_ahead"': "0x470 1x10"},
    "AuthsvcNoSigningKey": {"key_age": NOT_A_NUMBER},
    "AuthsvcSigningKeyOld": {"key_age": "20000000+15x480"},
    "AuthsvcKeyProblem": {"key_problems": "0x470 1x10"},
    "AuthsvcReplicasWithDifferentKeys": {'"unknown_key"': "0x450 30x30"},
    "AuthsvcRevocationsBehind": {"revocations_age": "0.2x470 5x10"},
    "AuthsvcManyRevocations": {"revocations{": "41000x480"},
    "AuthsvcTokensReused": {'"reused"': "0+3x480"},
    "AuthsvcForgedTokens": {'"bad_mac"': "0x450 30x30"},
    "AuthsvcGuessing": {'"too_many_attempts"': "0+200x480"},
    "AuthsvcHashingStuck": {"hashing_longest": "0.05x440 0+15x40"},
    "AuthsvcFewDescriptors": {"descriptors_left": "900x470 60x10"},
    "AuthsvcLogLinesDropped": {"lines_dropped": "5x470 5+1x10"},
    "AuthsvcLoginsOverloaded": {'"overloaded"': "0+1x480"},
}


def told(changes: dict[str, str], alerts: set[str], tmp_path: Path) -> str:
    """What promtool says against exactly these alerts being told after two hours."""
    series = dict(CALM)
    for part, values in changes.items():
        (name,) = (name for name in CALM if part in name)
        series[name] = values
    made = [
        {"record": name.partition("{")[0], "expr": "vector(0) / 0", "labels": {"instance": "a"}}
        for name, values in series.items()
        if values == NOT_A_NUMBER
    ]
    # By number, since what stands in labels and annotations does not matter here.
    expected: list[dict[str, Any]] = [
        {
            "expr": f'count(ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}})'
            " or vector(0)",
            "eval_time": "2h",
            "exp_samples": [{"labels": "{}", "value": int(rule["alert"] in alerts)}],
        }
        for rule in RULES
    ]
    shutil.copy(EXAMPLES / "authsvc.rules.yml", tmp_path)
    (tmp_path / "made.json").write_text(json.dumps({"groups": [{"name": "made", "rules": made}]}))
    written = tmp_path / "tests.json"  # JSON is YAML
    written.write_text(
        json.dumps(
            {
                "rule_files": ["authsvc.rules.yml", "made.json"],
                "evaluation_interval": "15s",
                "tests": [
                    {
                        "interval": "15s",
                        "input_series": [
                            {"series": name, "values": values}
                            for name, values in series.items()
                            if values != NOT_A_NUMBER
                        ],
                        "promql_expr_test": expected,
                    }
                ],
            }
        )
    )
    tested = subprocess.run(
        [PROMTOOL, "test", "rules", written], capture_output=True, text=True, check=False
    )
    return "" if tested.returncode == 0 else tested.stdout + tested.stderr


@needs_promtool
def test_calm_times_tell_nothing_though_somebody_mistypes_and_a_token_is_reused(
    tmp_path: Path,
) -> None:
    assert told({}, set(), tmp_path) == ""


@needs_promtool
@pytest.mark.parametrize("alert", CAUSES)
def test_an_alert_is_told_for_its_cause_and_no_other_one(alert: str, tmp_path: Path) -> None:
    assert told(CAUSES[alert], {alert}, tmp_path) == ""


def test_every_alert_has_a_cause_and_a_line_on_the_page() -> None:
    names = [rule["alert"] for rule in RULES]

    assert set(names) == set(CAUSES)
    assert [name for name in names if f"`{name}`" not in PAGE] == []


@needs_promtool
def test_the_next_signing_key_silences_the_age_of_this_one(tmp_path: Path) -> None:
    waiting = {"key_age": "20000000+15x480", "next_activation": "9000-15x480"}

    assert told(waiting, set(), tmp_path) == ""


def test_alerts_ask_for_metrics_and_outcomes_that_there_are() -> None:
    expressions = " ".join(rule["expr"] for rule in RULES)
    suffix = {"counter": "_total", "histogram": "_bucket"}
    names = {m.name + suffix.get(m.type, "") for m in metrics.REGISTRY.collect()} | {"up"}
    outcomes = {
        o for pattern in re.findall(r'outcome=~?"([^"]+)"', expressions) for o in pattern.split("|")
    }

    assert set(re.findall(r"\bauthsvc_\w+|\bup\b", expressions)) <= names
    assert outcomes <= {*metrics.REFRESH_OUTCOMES, *metrics.LOGIN_OUTCOMES}


def test_the_page_has_every_metric_and_every_outcome() -> None:
    names = {metric.name for metric in metrics.REGISTRY.collect()}
    outcomes = {
        *metrics.REFRESH_OUTCOMES,
        *metrics.LOGIN_OUTCOMES,
        *metrics.CLIENT_TOKEN_OUTCOMES,
        *metrics.INTROSPECTION_OUTCOMES,
        *metrics.REVOCATION_OUTCOMES,
        *metrics.VERIFY_OUTCOMES,
    }

    assert [name for name in sorted(names) if f"`{name}" not in PAGE] == []
    assert [outcome for outcome in sorted(outcomes) if f"`{outcome}`" not in PAGE] == []


@needs_promtool
def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a metrics token")
    shutil.copy(EXAMPLES / "authsvc.rules.yml", tmp_path)
    config = (EXAMPLES / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(
        config.replace("/etc/prometheus/authsvc-metrics-token", str(token))
    )

    checked = subprocess.run(
        [PROMTOOL, "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr

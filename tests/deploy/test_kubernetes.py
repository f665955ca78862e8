"""deploy/kubernetes: objects that Kubernetes 1.30 takes, and what they promise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import typer.main
import yaml

from authsvc.cli.main import app
from authsvc.settings import Settings
from tests.support.deploy_files import ROOT, stages

HERE = ROOT / "deploy" / "kubernetes"
SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "kubernetes.schema.json").read_text())
NO_SCHEMA = {"ServiceMonitor"}  # of the Prometheus operator

pytestmark = pytest.mark.finding("N19")


def kustomizations() -> Iterator[Path]:
    yield from sorted(HERE.rglob("kustomization.yaml"))


def built(directory: Path) -> list[dict[str, Any]]:
    """The objects that a kustomization brings in, by itself and by what it names."""
    read = yaml.safe_load((directory / "kustomization.yaml").read_text())
    objects = []
    for name in [*read.get("resources", ()), *read.get("components", ())]:
        path = directory / name
        if path.is_dir():
            objects += built(path)
        else:
            objects += list(yaml.safe_load_all(path.read_text()))
    return objects


SERVICE, MIGRATION = built(HERE / "example"), built(HERE / "example" / "migrate")
OBJECTS = [*SERVICE, *MIGRATION]


def only(kind: str, name: str = "authsvc") -> dict[str, Any]:
    (found,) = [
        each for each in OBJECTS if (kind, name) == (each["kind"], each["metadata"]["name"])
    ]
    return found


DEPLOYMENT, JOB = only("Deployment"), only("Job", "authsvc-migrate")
PODS = {"Deployment": DEPLOYMENT["spec"]["template"], "Job": JOB["spec"]["template"]}

each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def settings_of_the_example() -> dict[str, str]:
    read = yaml.safe_load((HERE / "example" / "settings" / "kustomization.yaml").read_text())
    (generator,) = read["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


@pytest.mark.parametrize(
    "each", OBJECTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_each_object_is_one_that_kubernetes_takes(each: dict[str, Any]) -> None:
    if each["kind"] in NO_SCHEMA:
        return
    schema = {**SCHEMA, "$ref": f"#/$defs/{SCHEMA['kinds'][each['kind']]}"}

    assert [] == [
        f"{error.instance_path}: {error.message}"
        for error in jsonschema_rs.validator_for(schema).iter_errors(each)
    ]


def test_the_schema_refuses_what_kubernetes_would_ignore() -> None:
    """A misspelled member, which a server drops without a word."""
    schema = {**SCHEMA, "$ref": f"#/$defs/{SCHEMA['kinds']['Deployment']}"}
    wrong = json.loads(json.dumps(DEPLOYMENT))
    wrong["spec"]["template"]["spec"]["enableServiceLink"] = False

    assert not jsonschema_rs.validator_for(schema).is_valid(wrong)


def test_every_file_belongs_to_a_kustomization_and_every_reference_leads_to_one() -> None:
    named = set(kustomizations())
    for kustomization in kustomizations():
        read = yaml.safe_load(kustomization.read_text())
        for name in [*read.get("resources", ()), *read.get("components", ())]:
            path = (kustomization.parent / name).resolve()
            assert path.is_file() or (path / "kustomization.yaml").is_file(), name
            named.add(path)

    assert set(HERE.rglob("*.yaml")) == {path for path in named if path.suffix == ".yaml"}


def test_patches_and_images_name_what_there_is() -> None:
    read = yaml.safe_load((HERE / "example" / "kustomization.yaml").read_text())
    for patch in read["patches"]:
        only(patch["target"]["kind"], patch["target"]["name"])
    settings = yaml.safe_load((HERE / "example" / "settings" / "kustomization.yaml").read_text())

    images = {
        container["image"] for pod in PODS.values() for container in pod["spec"]["containers"]
    }

    assert images == {image["name"] for image in settings["images"]}


@pytest.mark.finding("P01", "N02")
@each_pod
def test_no_service_link_becomes_a_setting(pod: dict[str, Any]) -> None:
    """A Service `authsvc` would set AUTHSVC_PORT=tcp://… in every pod of the namespace."""
    assert pod["spec"]["enableServiceLinks"] is False


@each_pod
def test_pods_have_as_little_as_they_need(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    user = int(stages()[-1].last("USER").split(":")[0])

    assert user == pod["spec"]["securityContext"]["runAsUser"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert {"/tmp"} == {  # noqa: S108 - what a pod may write to
        mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")
    }


@each_pod
def test_pods_run_commands_that_exist(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    command: Any = typer.main.get_command(app)
    for word in container["args"]:
        assert word in command.commands
        command = command.commands[word]


@each_pod
def test_volumes_and_settings_are_there(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    known = {f"AUTHSVC_{name.upper()}" for name in Settings.model_fields}

    assert {each["name"] for each in pod["spec"]["volumes"]} == {
        each["name"] for each in container["volumeMounts"]
    }
    assert {each["name"] for each in container["env"]} <= known
    assert [{"configMapRef": {"name": "authsvc-settings"}}] == container["envFrom"]


def test_the_settings_start_in_production(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    secret = {
        "AUTHSVC_DATABASE_URL": "postgresql://authsvc@db/authsvc",
        "AUTHSVC_METRICS_TOKEN": "0123456789abcdef0123456789abcdef",
    }
    for name, value in {**stages()[-1].environment, **settings_of_the_example(), **secret}.items():
        if name.startswith("AUTHSVC_"):
            monkeypatch.setenv(name, value)

    settings = Settings.load()

    assert "production" == settings.env
    assert only("Ingress")["spec"]["rules"][0]["host"] == settings.issuer_host
    assert ip_network("10.244.0.0/16") in settings.trusted_proxies


def test_probes_ask_what_they_mean() -> None:
    (container,) = PODS["Deployment"]["spec"]["containers"]

    assert "/healthz" == container["startupProbe"]["httpGet"]["path"]
    assert "/healthz" == container["livenessProbe"]["httpGet"]["path"]
    assert "/readyz" == container["readinessProbe"]["httpGet"]["path"]


def test_a_pod_that_ends_has_time_for_its_requests() -> None:
    """The wait of preStop is part of the grace period; authsvc takes up to 10 s, workers 30 s."""
    (container,) = PODS["Deployment"]["spec"]["containers"]
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert waits >= 5
    assert PODS["Deployment"]["spec"]["terminationGracePeriodSeconds"] - waits >= 30


def test_selectors_select_the_pods() -> None:
    labels = PODS["Deployment"]["metadata"]["labels"]
    service = only("Service")

    assert labels == DEPLOYMENT["spec"]["selector"]["matchLabels"]
    assert labels == service["spec"]["selector"]
    assert labels == only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    for name in ("authsvc", "authsvc-metrics"):
        assert labels == only("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"]
    monitor = only("ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert {each["port"] for each in monitor["endpoints"]} <= {
        port["name"] for port in service["spec"]["ports"]
    }


@pytest.mark.finding("11.16")
def test_the_outside_does_not_reach_what_is_not_for_it() -> None:
    paths = only("Ingress")["spec"]["rules"][0]["http"]["paths"]
    closed = {
        each["path"] for each in paths if each["backend"]["service"]["name"] == "authsvc-closed"
    }

    assert {"/auth/verify", "/metrics"} == closed
    assert all(each["pathType"] == "Exact" for each in paths if each["path"] in closed)
    assert (
        PODS["Deployment"]["metadata"]["labels"]
        != only("Service", "authsvc-closed")["spec"]["selector"]
    )


def test_no_secret_stands_in_the_files() -> None:
    assert "Secret" not in {each["kind"] for each in OBJECTS}
    assert not {name for name in settings_of_the_example() if "TOKEN" in name or "URL" in name}

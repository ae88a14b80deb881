"""
The files that an operator copies: Dockerfile, compose, Kubernetes.

There is no container engine here, so each property that matters is read out of the files; compose
and RayService were checked against their published schemas when they were written.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.edge_bodies import DISTRIBUTION_MODULES, PACKAGE
from cluster.haproxy import BINARY_PATH, PROGRAM
from cluster.ray_environment import RayPlaces, fixed_environment, serve_tuning
from cluster.secrets import OBJECT_STORE_SECRETS, HandedSecrets
from cluster.setting_sources import SECRET_NAMES
from cluster.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load(
    (REPOSITORY / "cluster/compose/docker-compose.prod.yml").read_text()
)
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((REPOSITORY / "cluster/kubernetes/slipway.yaml").read_text())
)
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
EDGE_DOCKERFILE = (REPOSITORY / "cluster/nginx/Dockerfile").read_text()
SERVICES: dict[str, Any] = COMPOSE["services"]
#: A tag that names a minor version, as in 1.28-alpine, v3.5.0 or slipway:0.1.
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?")
#: Names that programs other than the settings read.
OTHERS = {"ENV_FILE", "RAY_AUTH_TOKEN_PATH", "BACKUP_PASSPHRASE_FILE", "FORWARDED_ALLOW_IPS"}


def known_names() -> set[str]:
    own = {name.upper() for name in Settings.model_fields}
    secrets = {f"{name}_FILE" for name in (*SECRET_NAMES, *OBJECT_STORE_SECRETS)}
    return own | secrets | OTHERS


def kind(name: str) -> list[dict[str, Any]]:
    return [document for document in KUBERNETES if document["kind"] == name]


@cache
def pod_specs() -> list[dict[str, Any]]:
    """Specification of every pod that the Kubernetes file asks for."""
    (ray,) = kind("RayService")
    cluster = ray["spec"]["rayClusterConfig"]
    (cron,) = kind("CronJob")
    return [
        cluster["headGroupSpec"]["template"]["spec"],
        *(group["template"]["spec"] for group in cluster["workerGroupSpecs"]),
        *(deployment["spec"]["template"]["spec"] for deployment in kind("Deployment")),
        cron["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    ]


def containers() -> list[dict[str, Any]]:
    return [
        container
        for spec in pod_specs()
        for container in (*spec.get("initContainers", ()), *spec["containers"])
    ]


class TestDockerfile:
    def test_it_has_a_stage_of_its_own_for_building(self) -> None:
        stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE)

        assert len(stages) == 2
        assert all(PINNED.match(image) for image, _ in stages)
        assert "--from=build" in DOCKERFILE

    def test_the_last_stage_installs_nothing(self) -> None:
        last = DOCKERFILE.split("\nFROM ")[-1]

        assert not re.search(r"apt-get|pip install|gcc|build-essential|curl|wget", last)

    def test_it_runs_as_nobody_in_particular(self) -> None:
        users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)

        assert users == ["10001:10001"]

    def test_it_has_a_probe_labels_and_installs_by_hash(self) -> None:
        assert 'CMD ["python", "-m", "cluster.container_health", "serve"]' in DOCKERFILE
        assert "HEALTHCHECK" in DOCKERFILE
        assert "org.opencontainers.image.version" in DOCKERFILE
        assert "--require-hashes -r requirements.lock" in DOCKERFILE

    def test_what_it_copies_is_there_and_not_ignored(self) -> None:
        copied = {
            word
            for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
            for word in line.split()[:-1]
        }
        allowed = {
            line.removeprefix("!")
            for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
            if line.startswith("!")
        }

        assert all((REPOSITORY / name).exists() for name in copied)
        assert copied == allowed

    def test_no_secret_is_built_in(self) -> None:
        assert not re.search(r"(SECRET|TOKEN|PASSWORD|DSN)\w*=", DOCKERFILE)


class TestEdgeDockerfile:
    def test_it_is_debians_nginx_with_lua_and_runs_as_nobody_in_particular(self) -> None:
        assert re.findall(r"^FROM (\S+)", EDGE_DOCKERFILE, re.MULTILINE) == ["debian:bookworm-slim"]
        assert f" nginx {PACKAGE} wget " in EDGE_DOCKERFILE
        assert re.findall(r"^USER (\S+)$", EDGE_DOCKERFILE, re.MULTILINE) == ["10001:10001"]

    def test_it_is_what_stands_before_both_deployments(self) -> None:
        (pod,) = (spec for spec in pod_specs() if spec["containers"][0]["name"] == "nginx")

        assert SERVICES["edge"]["image"] == pod["containers"][0]["image"] == "slipway-edge:0.1"
        assert SERVICES["edge"]["build"] == {"context": "../nginx", "dockerfile": "Dockerfile"}

    def test_what_renders_its_configuration_knows_its_modules(self) -> None:
        (pod,) = (spec for spec in pod_specs() if spec["containers"][0]["name"] == "nginx")
        commands = [SERVICES["edge-config"]["command"], pod["initContainers"][0]["command"]]

        for command in commands:
            assert f" --lua-modules {DISTRIBUTION_MODULES}" in command[-1]


class TestCompose:
    def test_only_the_edge_is_published(self) -> None:
        assert {name for name, service in SERVICES.items() if "ports" in service} == {"edge"}
        assert SERVICES["edge"]["ports"] == ["80:8080", "443:8443"]

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_service_is_hardened(self, name: str) -> None:
        service = SERVICES[name]

        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
        assert service.get("network_mode") != "host"
        assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ()))

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_service_has_limits_and_a_pinned_image(self, name: str) -> None:
        limits = SERVICES[name]["deploy"]["resources"]["limits"]

        assert {"cpus", "memory", "pids"} <= set(limits)
        assert PINNED.fullmatch(SERVICES[name]["image"])

    @pytest.mark.parametrize("name", [name for name in SERVICES if name != "edge-config"])
    def test_every_service_that_stays_is_probed_and_restarted(self, name: str) -> None:
        assert SERVICES[name]["healthcheck"]["test"]
        assert SERVICES[name]["restart"] == "unless-stopped"

    def test_they_start_in_order(self) -> None:
        assert SERVICES["app"]["depends_on"].keys() == {"edge", "postgres", "valkey"}
        for service in SERVICES.values():
            for name, condition in service.get("depends_on", {}).items():
                wanted = (
                    "service_completed_successfully" if name == "edge-config" else "service_healthy"
                )
                assert condition["condition"] == wanted

    def test_the_application_has_time_to_drain_and_memory_to_share(self) -> None:
        assert int(SERVICES["app"]["stop_grace_period"].removesuffix("s")) >= 60
        assert SERVICES["app"]["shm_size"] == "2gb"

    def test_versions_are_those_that_are_tested(self) -> None:
        assert SERVICES["postgres"]["image"].startswith("postgres:18.")
        assert SERVICES["valkey"]["image"].startswith("valkey/valkey:9.")
        assert "appendonly yes" in SERVICES["valkey"]["entrypoint"][-1]
        assert "requirepass" in SERVICES["valkey"]["entrypoint"][-1]

    @pytest.mark.parametrize("name", ["app", "backup", "edge-config"])
    def test_the_environment_names_settings_and_no_secret(self, name: str) -> None:
        environment = SERVICES[name]["environment"]

        assert set(environment) <= known_names()
        assert not set(environment) & set(SECRET_NAMES)
        values: dict[str, Any] = {
            key.lower(): _default(str(value))
            for key, value in environment.items()
            if key.lower() in Settings.model_fields
        }
        assert Settings(_env_file=None, **values).is_hardened

    @pytest.mark.parametrize("name", SERVICES)
    def test_secrets_are_files_that_the_service_is_given(self, name: str) -> None:
        given = set(SERVICES[name].get("secrets", ()))
        used = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(SERVICES[name])))

        assert given <= set(COMPOSE["secrets"])
        # The renderer names the certificate for nginx and does not read it.
        assert used - {"tls_certificate", "tls_key"} <= given

    def test_the_script_makes_every_secret_but_the_certificate(self) -> None:
        script = (REPOSITORY / "cluster/compose/make_secrets.sh").read_text()
        made = set(re.findall(r"^keep (\w+) ", script, re.MULTILINE))

        assert made == set(COMPOSE["secrets"]) - {"tls_certificate", "tls_key"}

    def test_databases_have_no_way_out(self) -> None:
        assert COMPOSE["networks"]["backend"] == {"internal": True}
        assert SERVICES["postgres"]["networks"] == SERVICES["valkey"]["networks"] == ["backend"]

    def test_volumes_are_declared_and_mounted_files_exist(self) -> None:
        for service in SERVICES.values():
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                if source.startswith("."):
                    assert (REPOSITORY / "cluster/compose" / source).exists(), source
                else:
                    assert source in COMPOSE["volumes"]


class TestKubernetes:
    @pytest.mark.parametrize("index", range(4))
    def test_every_pod_runs_without_root_or_a_token_of_the_cluster(self, index: int) -> None:
        spec = pod_specs()[index]

        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not any("hostPath" in volume for volume in spec["volumes"])

    def test_every_container_is_hardened_limited_and_pinned(self) -> None:
        for container in containers():
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert PINNED.fullmatch(container["image"])

    def test_mounts_and_volumes_agree(self) -> None:
        for spec in pod_specs():
            volumes = {volume["name"] for volume in spec["volumes"]}
            for container in (*spec.get("initContainers", ()), *spec["containers"]):
                assert {mount["name"] for mount in container["volumeMounts"]} <= volumes

    def test_the_configuration_holds_settings_and_no_secret(self) -> None:
        (config,) = kind("ConfigMap")
        ours = {
            name for name in config["data"] if not name.startswith(("RAY_", "OMP", "OPEN", "MKL"))
        }

        assert ours <= known_names()
        assert not ours & set(SECRET_NAMES)
        assert kind("Secret") == []

    def test_rays_environment_is_the_one_that_was_measured(self) -> None:
        (config,) = kind("ConfigMap")
        settings = Settings(_env_file=None)
        secrets = HandedSecrets(files={}, ray_token=Path("/token"))
        places = RayPlaces(temporary=Path("/tmp/x"), first_ingress_port=1, fallback_port=1)
        expected = serve_tuning(settings) | fixed_environment(settings, secrets, places, {})
        expected[BINARY_PATH] = f"/opt/slipway/bin/{PROGRAM}"
        rays = {
            name: value
            for name, value in config["data"].items()
            if name.startswith(("RAY_", "OMP"))
        }

        assert rays == {name: expected[name] for name in rays}
        assert {"RAY_SERVE_ENABLE_HA_PROXY", "RAY_process_group_cleanup_enabled"} <= set(rays)

    def test_serve_is_given_this_releases_configuration(self) -> None:
        (ray,) = kind("RayService")
        given = yaml.safe_load(ray["spec"]["serveConfigV2"])
        own = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
        own["http_options"]["host"] = "0.0.0.0"

        assert given == own

    def test_ray_asks_for_a_token(self) -> None:
        (ray,) = kind("RayService")

        assert ray["apiVersion"] == "ray.io/v1"
        assert ray["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}

    def test_only_the_edge_is_published(self) -> None:
        (service,) = kind("Service")

        assert service["spec"]["type"] == "LoadBalancer"
        assert service["spec"]["selector"]["app.kubernetes.io/component"] == "edge"
        assert [port["port"] for port in service["spec"]["ports"]] == [80, 443]

    def test_everything_else_is_closed_to_the_network(self) -> None:
        policies = {policy["metadata"]["name"]: policy["spec"] for policy in kind("NetworkPolicy")}

        assert policies["deny-ingress"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
        open_to_all = [
            name
            for name, spec in policies.items()
            if any("from" not in rule for rule in spec.get("ingress", ()))
        ]
        assert open_to_all == ["edge"]

    def test_edge_and_replicas_outlive_a_drained_node(self) -> None:
        budgets = {budget["metadata"]["name"] for budget in kind("PodDisruptionBudget")}

        assert budgets == {"slipway-edge", "slipway-ray"}

    def test_backups_run_every_night_and_never_twice_at_once(self) -> None:
        (cron,) = kind("CronJob")

        assert cron["spec"]["schedule"] == "0 2 * * *"
        assert cron["spec"]["concurrencyPolicy"] == "Forbid"


def _default(value: str) -> str:
    """What compose makes of ``${NAME:-default}`` in an empty environment."""
    found = re.fullmatch(r"\$\{\w+:?([-?])(.*)\}", value)
    if found is None:
        return value
    return found[2] if found[1] == "-" else "models.example.com"

"""Tests of the chart: `chart_test.py HELM CHART [GATEWAY]`.

Every set of `ci/` must render, be valid for the oldest and the newest Kubernetes and be accepted by the gateway; every set
of `ci-fail/` must fail with the words of its first line; and the properties below must hold.
"""

import copy
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import kubernetes_validate
import yaml

HELM, CHART = sys.argv[1], pathlib.Path(sys.argv[2])
GATEWAY = sys.argv[3] if len(sys.argv) > 3 else ""
# The oldest and the newest Kubernetes that the chart is validated for. Helm without a cluster assumes an ancient one.
VERSIONS = ["1.27.0", "1.37.0"]
NEWEST = VERSIONS[-1]
SECRETS = "/etc/powerstream-gateway/secrets"
RULES = "/etc/powerstream-gateway/rules"
ACCOUNT_FILES = "/var/run/secrets/kubernetes.io/serviceaccount"
CRDS = {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}
# Kinds of a namespace, and none that holds a secret or a right.
KINDS = {"StatefulSet", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy", "Pod"} | CRDS

failures = []


def check(condition, text):
    if not condition:
        failures.append(text)
        print(f"FAILED: {text}")


def helm(*args, values=None, chart=CHART):
    """Runs `helm template`; returns the exit code, stdout and stderr."""
    command = [HELM, "template", *args, str(chart), "--namespace", "demo"]
    text = None
    if values is not None:
        command += ["--values", "-"]
        text = yaml.safe_dump(values)
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def render(values, *args, name="rel", version=NEWEST, chart=CHART):
    """Returns the rendered objects."""
    code, out, err = helm(name, "--kube-version", version, *args, values=values, chart=chart)
    if code:
        raise AssertionError(f"does not render: {err}")
    return [document for document in yaml.safe_load_all(out) if document]


def of_kind(objects, kind):
    return [one for one in objects if one["kind"] == kind]


def the(objects, kind):
    (one,) = of_kind(objects, kind)
    return one


def load(path):
    return yaml.safe_load(path.read_text()) or {}


def merged(one, other):
    """Returns `one` with the keys of `other`, merged deeply."""
    result = copy.deepcopy(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def pods(objects):
    """Returns the specs and labels of all pods."""
    templates = [one["spec"]["template"] for one in of_kind(objects, "StatefulSet")]
    return [(pod["spec"], pod["metadata"]["labels"]) for pod in templates + of_kind(objects, "Pod")]


def valid(name, objects):
    for version in VERSIONS:
        for one in objects:
            if one["kind"] in CRDS:
                continue
            try:
                kubernetes_validate.validate(one, version.rsplit(".", 1)[0], strict=True)
            except Exception as error:  # noqa: BLE001: each kind of error is a failure
                check(False, f"{name}: {one['kind']} is invalid for {version}: {error}")


def restricted(name, objects):
    """The policy `restricted` of Kubernetes, and no way in by a token or a service link."""
    for spec, _ in pods(objects):
        security = spec["securityContext"]
        check(security["runAsNonRoot"] is True and security["runAsUser"] == 65532, f"{name}: runs as root")
        check(security["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: seccomp")
        check(spec["enableServiceLinks"] is False, f"{name}: service links")
        for container in spec["containers"]:
            own = container["securityContext"]
            check(own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}, f"{name}: privileges")
            check(own["readOnlyRootFilesystem"] is True, f"{name}: writable root")
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
                check("exec" not in container.get(probe, {}), f"{name}: {probe} needs a program")
            check(all("subPath" not in mount for mount in container.get("volumeMounts", [])), f"{name}: subPath")


def once(name, objects):
    """Server-side apply refuses lists whose keys are doubled."""
    for spec, _ in pods(objects):
        lists = {"volumes": [one["name"] for one in spec.get("volumes", [])]}
        for container in spec["containers"]:
            lists["ports"] = [one["name"] for one in container.get("ports", [])]
            lists["env"] = [one["name"] for one in container.get("env", [])]
            lists["mounts"] = [one["mountPath"] for one in container.get("volumeMounts", [])]
        for what, names in lists.items():
            check(len(names) == len(set(names)), f"{name}: doubled {what}: {names}")
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    check(len(names) == len(set(names)), f"{name}: doubled objects")


def connected(name, objects):
    """Services, budgets and policies select the gateway's pod and never the pod of the test."""
    template = the(objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    tests = [pod["metadata"]["labels"] for pod in of_kind(objects, "Pod")]
    selectors = [one["spec"]["selector"] for one in of_kind(objects, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(objects, "PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(objects, "NetworkPolicy")]
    selectors.append(the(objects, "StatefulSet")["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        check(selects(selector, template), f"{name}: {selector} does not select the gateway")
        check(not any(selects(selector, labels) for labels in tests), f"{name}: {selector} selects the test")
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        found = [one for one in of_kind(objects, "Service") if selects(selector, one["metadata"]["labels"])]
        check(len(found) == 1 and found[0]["metadata"]["name"].endswith("-admin"), f"{name}: scraped Services")
    ports = {port["name"] for port in the(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["ports"]}
    for service in of_kind(objects, "Service"):
        check(all(port["targetPort"] in ports for port in service["spec"]["ports"]), f"{name}: ports of Services")


def settings_of_pod(objects):
    """Returns the settings that the first pod has in its environment."""
    stateful = the(objects, "StatefulSet")
    variables = stateful["spec"]["template"]["spec"]["containers"][0].get("env", [])
    names = [one["name"] for one in variables if one.get("valueFrom") == {"fieldRef": {"fieldPath": "metadata.name"}}]
    return {name: f"{stateful['metadata']['name']}-0" for name in names}


def accepted(name, objects, dir):
    """`powerstream-gateway check` accepts the configuration, with files in place of the mounted ones."""
    text = the([one for one in objects if "gateway.yaml" in one.get("data", {})], "ConfigMap")["data"]["gateway.yaml"]
    for path, own in [(SECRETS, "secrets"), (ACCOUNT_FILES, "account"), ("/var/lib/powerstream-gateway", "data")]:
        text = text.replace(path, f"{dir}/{own}")
    text = text.replace(RULES, f"{dir}/rules-{name}")
    for one in of_kind(objects, "ConfigMap"):
        account = one["metadata"]["name"].rpartition("-rules-")[2]
        if f"/rules-{name}/{account}/" not in text:
            continue
        own = dir / f"rules-{name}" / account
        own.mkdir(parents=True)
        for file, rules in one["data"].items():
            (own / file).write_text(rules)
        done = subprocess.run([GATEWAY, "rules", "check", *sorted(own.iterdir())], capture_output=True, text=True)
        check(done.returncode == 0, f"{name}: rules of {account}: {done.stdout}{done.stderr}")
    file = dir / f"{name}.yaml"
    file.write_text(text)
    environment = {**os.environ, "X_BEARER": "bearer", **settings_of_pod(objects)}
    done = subprocess.run([GATEWAY, "check", "--config", str(file)], capture_output=True, text=True, env=environment)
    # Group and mode of a mounted Secret are those of these files; nothing else may be worth a warning.
    warnings = [line for line in done.stderr.splitlines() if "allow_unauthenticated" not in line]
    check(done.returncode == 0 and not warnings, f"{name}: the gateway refuses the configuration: {done.stderr}")


def credentials(dir):
    """Writes the files that the sets name."""
    for path in ["secrets/x", "secrets/tokens", "secrets/tls", "secrets/token-key", "account", "data"]:
        (dir / path).mkdir(parents=True)
    (dir / "secrets/token-key/key").write_text("0123456789abcdef" * 4)
    for number, name in enumerate(["bearer", "main", "eu"]):
        (dir / "secrets/x" / name).write_text(f"bearer-{number}\n")
    (dir / "account/token").write_text("token\n")
    made = subprocess.run([GATEWAY, "credential", "new", "--principal", "indexer"], capture_output=True, text=True, check=True)
    (dir / "secrets/tokens/tokens.yaml").write_text(made.stderr)
    key, certificate = dir / "secrets/tls/tls.key", dir / "secrets/tls/tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-keyout",
         str(key), "-out", str(certificate), "-subj", "/CN=gateway", "-addext", "subjectAltName=DNS:gateway"],
        capture_output=True, check=True,
    )
    for copied in ["secrets/tls/ca.crt", "account/ca.crt"]:
        shutil.copy(certificate, dir / copied)
    for file in dir.rglob("*"):
        if file.is_file():
            file.chmod(0o440)


def umbrella(values, dir):
    """A chart with this one as a dependency."""
    parent = dir / "umbrella"
    (parent / "charts").mkdir(parents=True)
    shutil.copytree(CHART, parent / "charts" / "powerstream-gateway")
    chart = {"apiVersion": "v2", "name": "umbrella", "version": "0.0.1"}
    chart["dependencies"] = [{"name": "powerstream-gateway", "version": "*", "condition": "powerstream-gateway.enabled"}]
    (parent / "Chart.yaml").write_text(yaml.safe_dump(chart))
    objects = render(values, chart=parent)
    image = the(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"]
    check(image.startswith("mirror.example/"), f"umbrella: the image is {image}")
    check(not render({"powerstream-gateway": {"enabled": False}}, chart=parent), "umbrella: disabled, and renders")
    return objects


def notes(name, path):
    command = [HELM, "install", "rel", str(CHART), "--dry-run=client", "--namespace", "demo", "-f", str(path)]
    done = subprocess.run([*command, "--kube-version", NEWEST], capture_output=True, text=True)
    text = done.stdout.partition("NOTES:")[2]
    if done.returncode and "unknown flag" in done.stderr:
        return
    check("rel-powerstream-gateway" in text or "psg" in text, f"{name}: NOTES: {done.stderr}{text}")
    check("no value" not in text and "%!" not in text, f"{name}: NOTES: {text}")


def renders(path, dir):
    name = path.name.removesuffix("-values.yaml")
    try:
        objects = umbrella(load(path), dir) if name == "umbrella" else render(load(path))
        # Kubernetes 1.27 renders too.
        if name != "umbrella":
            render(load(path), version=VERSIONS[0])
    except AssertionError as error:
        return check(False, f"{name}: {error}")
    valid(name, objects)
    restricted(name, objects)
    once(name, objects)
    connected(name, objects)
    foreign = {one["kind"] for one in objects} - KINDS
    check(not foreign, f"{name}: kinds {foreign}")
    check(all(one["metadata"].get("namespace") in ("demo", None) for one in objects), f"{name}: namespaces")
    if name != "umbrella":
        notes(name, path)
    if GATEWAY:
        accepted(name, objects, dir)
    return print(f"renders: {name}: {len(objects)} objects")


def fails(path):
    name = path.name.removesuffix("-values.yaml")
    words = path.read_text().splitlines()[0].removeprefix("# words: ")
    code, _, err = helm("rel", "--kube-version", NEWEST, values=load(path))
    check(code != 0, f"{name}: renders, and must not")
    check(words in err, f"{name}: the words {words!r} are not in: {err}")
    print(f"fails: {name}: {words}")


MINIMAL = load(CHART / "ci/minimal-values.yaml")


def template_of(values):
    return the(render(values), "StatefulSet")["spec"]["template"]


def without(config, path):
    """Returns a configuration without the key with this path; lists: without it in each entry."""
    config = copy.deepcopy(config)

    def remove(node, keys):
        nodes = node if isinstance(node, list) else [node]
        for one in nodes:
            if keys[0] in one and len(keys) == 1:
                del one[keys[0]]
            elif keys[0] in one:
                remove(one[keys[0]], keys[1:])

    remove(config, path.replace("[]", "").split("."))
    return config


def only_other_keys_restart():
    """A key that takes effect at once changes no pod; every other key replaces it. With every key of the gateway."""
    live = (CHART / "files/live-keys.txt").read_text().split()
    own = subprocess.run([GATEWAY, "check", "--live-keys"], capture_output=True, text=True, check=True).stdout.split()
    check(live == own, f"files/live-keys.txt has {live}, the gateway {own}")
    example = subprocess.run([GATEWAY, "check", "--example"], capture_output=True, text=True, check=True).stdout
    config = yaml.safe_load(example)
    for path in ["data_dir", "grpc.address", "admin.address"]:
        config = without(config, path)
    # Of no effect with nulls, which Helm removes.
    values = {"config": config, "auth": {"allowAnonymous": True}}
    whole = template_of(values)
    for path in live:
        changed = template_of({**values, "config": without(config, path)})
        check(changed == whole, f"{path} takes effect at once, and its change replaces the pod")
    others = ["accounts.name", "shutdown_timeout", "upstream.stale_after", "journal.durability", "grpc.ping_interval", "clock.rate", "hub.ring_bytes_max"]
    for path in others:
        if path in live:
            continue
        # Names are required by the schema: another one instead of none.
        other = without(config, path)
        if path == "accounts.name":
            other["accounts"][0]["name"] = "other"
        check(template_of({**values, "config": other}) != whole, f"{path} needs a restart, and its change does not replace the pod")
    once_more = merged(MINIMAL, {"config": {"roles": [{"name": "reader", "accounts": ["*"]}]}, "podDisruptionBudget": {"enabled": False}})
    check(template_of(once_more) == template_of(MINIMAL), "a role replaces the pod")


def values_have_effect():
    chart = load(CHART / "Chart.yaml")
    check(f":{chart['appVersion']}\n" in chart["annotations"]["artifacthub.io/images"], "the image of the annotations is that of appVersion")
    if GATEWAY:
        version = subprocess.run([GATEWAY, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
        check(version == chart["appVersion"], f"the gateway has version {version}, the chart is for {chart['appVersion']}")
    stateful = the(render(MINIMAL), "StatefulSet")["spec"]
    check(stateful["replicas"] == 1, "one pod")
    claim = stateful["volumeClaimTemplates"][0]
    check(claim["kind"] == "PersistentVolumeClaim" and claim["apiVersion"] == "v1", "the claim has kind and version")
    check("storageClassName" not in claim["spec"], "the default storage class")
    check("helm.sh/chart" not in str(claim) + str(stateful["template"]), "versions in what must not change")
    check(the(render({**MINIMAL, "paused": True}), "StatefulSet")["spec"]["replicas"] == 0, "paused")
    none = render(merged(MINIMAL, {"persistence": {"storageClassName": ""}}))
    check(the(none, "StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "", "no storage class")
    for name in ["a" * 53, "powerstream-gateway", "x-powerstream-gateway-y"]:
        long = render(MINIMAL, name=name)
        check(all(len(one["metadata"]["name"]) <= 63 for one in long), f"long names of {name}")
        check(len(the(long, "StatefulSet")["metadata"]["name"]) <= 52, f"name of the StatefulSet of {name}")
    for grace, text, renders in [(60, "25s", True), (29, "25s", False), (30, "25s", True), (95, "1m 30s", True), (94, "90s", False),
                                 (3605, "1h", True), (3604, "60min", False), (6, "1500ms", True)]:
        values = merged(MINIMAL, {"terminationGracePeriodSeconds": grace, "config": {"shutdown_timeout": text}})
        check((helm("rel", "--kube-version", NEWEST, values=values)[0] == 0) == renders, f"grace of {grace} s, stop of {text}")
    tests = the(render(load(CHART / "ci/mtls-values.yaml")), "Pod")["spec"]["containers"][0]["args"]
    check("--cert-file=/etc/powerstream-gateway/secrets/probe/tls.crt" in tests and "--health-only" not in tests, "certificate of the test")
    check("--health-only" in the(render(MINIMAL), "Pod")["spec"]["containers"][0]["args"], "a test without a credential")


def replicas_share_a_log():
    """Replicas have names, volumes and budgets of their own, and reach NATS. A pod alone has nothing of it."""
    values = load(CHART / "ci/replicas-values.yaml")
    objects = render(values)
    stateful = the(objects, "StatefulSet")["spec"]
    rollout = (stateful["replicas"], stateful["podManagementPolicy"], stateful["minReadySeconds"], stateful["updateStrategy"]["type"])
    check(rollout == (3, "Parallel", 10, "RollingUpdate"), f"replicas: rollout {rollout}")
    check(settings_of_pod(objects) == {"POWERSTREAM_GATEWAY__REPLICATION__NAME": "rel-powerstream-gateway-0"}, "replicas: name")
    check(len(stateful["volumeClaimTemplates"]) == 1, "replicas: volumes")
    check(the(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1, "replicas: budget")
    spread = stateful["template"]["spec"]["topologySpreadConstraints"]
    check([one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], "replicas: spread")
    labels = stateful["template"]["metadata"]["labels"]
    check(all(selects(one["labelSelector"]["matchLabels"], labels) for one in spread), "replicas: spread of the own pods")
    services = {one["metadata"]["name"]: one["spec"].get("clusterIP") for one in of_kind(objects, "Service")}
    check(services.get(stateful["serviceName"]) == "None" and "rel-powerstream-gateway" in services, f"replicas: Services {services}")

    def egress(servers, **policy):
        changed = merged(values, {"config": {"replication": {"nats": {"servers": servers}}}, "networkPolicy": policy})
        return the(render(changed), "NetworkPolicy")["spec"]["egress"]

    def ports(*numbers):
        return [{"port": number, "protocol": "TCP"} for number in numbers]

    nats = values["networkPolicy"]["natsTo"]
    check(egress(["nats://a:4222"])[1:] == [{"ports": ports(4222), "to": nats}], "replicas: egress to NATS")
    other = egress(["tls://a", "tls://b:4443", "nats://[fd00::1]:4333/", "nats://c:4443"], natsTo=[])
    check(other[1:] == [{"ports": ports(4222, 4443, 4333)}], f"replicas: egress {other[1:]}")

    own = [{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]
    changed = merged(values, {"topologySpreadConstraints": own, "extraEnv": [{"name": "A", "value": "b"}]})
    pod = template_of(changed)["spec"]
    check(pod["topologySpreadConstraints"] == own, "replicas: own spread")
    variables = [one["name"] for one in pod["containers"][0]["env"]]
    check(variables == ["POWERSTREAM_GATEWAY__REPLICATION__NAME", "A"], f"replicas: environment {variables}")
    check(the(render({**values, "paused": True}), "StatefulSet")["spec"]["replicas"] == 0, "replicas: paused")
    # The policy of a StatefulSet cannot be changed: the number of replicas can.
    single = the(render({**values, "replicas": 1}), "StatefulSet")["spec"]
    check(single == {**stateful, "replicas": 1}, "replicas: from 1 to 3")
    alone = the(render(MINIMAL), "StatefulSet")["spec"]
    check(alone["podManagementPolicy"] == "OrderedReady" and "minReadySeconds" not in alone, "one pod: rollout")
    check("topologySpreadConstraints" not in alone["template"]["spec"], "one pod: spread")
    check("env" not in alone["template"]["spec"]["containers"][0], "one pod: environment")


def rules_are_mounted():
    """A changed rule reaches the running pod: only its ConfigMap changes. The directory is mounted as a whole."""
    values = load(CHART / "ci/rules-values.yaml")
    before = render(values)
    changed = copy.deepcopy(values)
    changed["rules"]["sets"]["main"][0]["value"] = "fish"
    changed["rules"]["sets"]["main"].append({"name": "more", "value": "bird"})
    after = render(changed)
    different = [(one["kind"], one["metadata"]["name"]) for one, other in zip(before, after, strict=True) if one != other]
    check(different == [("ConfigMap", "rel-powerstream-gateway-rules-main")], f"a changed rule changes {different}")
    pod = the(before, "StatefulSet")["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume.get("configMap", {}).get("name") for volume in pod["volumes"]}
    configs = {one["metadata"]["name"]: one["data"] for one in of_kind(before, "ConfigMap")}
    gateway = yaml.safe_load(configs["rel-powerstream-gateway"]["gateway.yaml"])
    for account in gateway["accounts"]:
        directory = f"{RULES}/{account['name']}"
        files = configs[volumes[mounts[directory]]]
        check(account["rules"]["files"] == [f"{directory}/{file}" for file in sorted(files)], f"files of {account}")
    own = yaml.safe_load(configs["rel-powerstream-gateway-rules-main"]["rules.yaml"])
    check(own == values["rules"]["sets"]["main"], f"rules of the values: {own}")
    # Names of accounts have up to 63 characters, and those of volumes too.
    names = ["a" * 62 + end for end in "bc"]
    accounts = [{"name": name, "bearer": {"file": f"{SECRETS}/x/bearer"}} for name in names]
    long = {"config": {"accounts": accounts}, "rules": {"sets": {name: [{"name": "cats", "value": "cat"}] for name in names}}}
    objects = render(merged(MINIMAL, long))
    valid("long names of accounts", objects)
    once("long names of accounts", objects)
    large = {"rules": {"files": {"main": {"a.yaml": "- {name: cats, value: cat}\n" * 40_000}}}}
    code, _, err = helm("rel", "--kube-version", NEWEST, values=merged(MINIMAL, large))
    check(code != 0 and "a ConfigMap at most 1 MiB" in err, f"too many rules: {err[:200]}")


ALERTS = """
groups:
  - name: powerstream-gateway
    interval: 30s
    rules:
      - alert: One
        expr: lag > __lagSeconds__ and other > __share__
        for: 5m
        labels: { severity: warning }
        annotations: { summary: "{{ $labels.account }} is late", runbook_url: "__runbooks__#one" }
      - alert: Two
        expr: up == 0
        labels: { severity: critical }
  - name: records
    rules:
      - record: a:b
        expr: sum(a)
"""


def files_are_installed(dir):
    """Alerts and dashboards are taken from files, which the values change; without files nothing is rendered."""
    full = dir / "full"
    shutil.copytree(CHART, full)
    shutil.rmtree(full / "files/dashboards", ignore_errors=True)
    (full / "files/dashboards").mkdir(parents=True)
    bare = dir / "bare"
    shutil.copytree(full, bare)
    (bare / "files/alerts.yaml").unlink(missing_ok=True)
    (full / "files/alerts.yaml").write_text(ALERTS)
    (full / "files/alert-thresholds.yaml").write_text("lagSeconds: 5\nshare: 0.9\n")
    (full / "files/dashboards/one.json").write_text('{"title": "{{account}}"}')
    wanted = {"dashboards": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    thresholds = {"lagSeconds": 600}
    alerts = {"enabled": True, "thresholds": thresholds, "labels": {"release": "p"}, "ruleLabels": {"team": "data"}}
    kinds = {one["kind"] for one in render(merged(MINIMAL, {**wanted, "alerts": {"enabled": True}}), chart=bare)}
    check("PrometheusRule" not in kinds and "ServiceMonitor" in kinds, "alerts without a file")

    objects = render(merged(MINIMAL, {**wanted, "alerts": alerts}), chart=full)
    rule = the(objects, "PrometheusRule")
    one, two = rule["spec"]["groups"][0]["rules"]
    check(rule["metadata"]["labels"]["release"] == "p" and rule["spec"]["groups"][0]["interval"] == "30s", "alerts: labels")
    check(one["expr"] == "lag > 600 and other > 0.9" and one["for"] == "5m", f"alerts: {one}")
    check(one["labels"] == {"severity": "warning", "team": "data"}, f"alerts: {one}")
    check(one["annotations"]["summary"] == "{{ $labels.account }} is late", f"alerts: {one}")
    check("for" not in two and rule["spec"]["groups"][1]["rules"] == [{"record": "a:b", "expr": "sum(a)"}], f"alerts: {two}")
    data = [config["data"] for config in of_kind(objects, "ConfigMap") if config["metadata"]["name"].endswith("-dashboards")]
    check(data == [{"one.json": '{"title": "{{account}}"}'}], f"dashboards: {data}")

    change = {"One": {"for": "1m", "severity": "page", "labels": {"tier": "one"}}, "Two": {"enabled": False}}
    url = "https://runbooks.example/r.md"
    objects = render(merged(MINIMAL, {"alerts": {**alerts, "rules": change, "runbookUrl": url}}), chart=full)
    (one,) = the(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
    check(one["for"] == "1m" and one["labels"] == {"severity": "page", "team": "data", "tier": "one"}, f"alerts: {one}")
    check(one["annotations"]["runbook_url"] == f"{url}#one", f"alerts: {one}")
    for rules, limits, words in [
        ({"Three": {"enabled": False}}, thresholds, "there is no such alert; there are One, Two"),
        ({}, {"lagSecond": 1}, "alerts.thresholds.lagSecond: there is no such threshold; there are lagSeconds, share"),
    ]:
        values = merged(MINIMAL, {"alerts": {"enabled": True, "rules": rules, "thresholds": limits}})
        code, _, err = helm("rel", "--kube-version", NEWEST, values=values, chart=full)
        check(code != 0 and words in err, f"alerts: {words}: {err}")
    auto = merged(MINIMAL, {"serviceMonitor": {"enabled": "auto"}, "alerts": {**alerts, "enabled": "auto"}})
    check(not {one["kind"] for one in render(auto, chart=full)} & CRDS, "auto without the API")
    apis = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in ["ServiceMonitor", "PrometheusRule"]]
    check({one["kind"] for one in render(auto, *apis, chart=full)} >= {"ServiceMonitor", "PrometheusRule"}, "auto with the API")
    (full / "files/alert-thresholds.yaml").write_text("lagSeconds: 5\n")
    code, _, err = helm("rel", "--kube-version", NEWEST, values=merged(MINIMAL, {"alerts": {"enabled": True}}), chart=full)
    check(code != 0 and "alert One: files/alert-thresholds.yaml has no value for __share__" in err, f"alerts: {err}")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        dir = pathlib.Path(temporary)
        if GATEWAY:
            credentials(dir)
        with ThreadPoolExecutor(2) as pool:
            sets = sorted((CHART / "ci").glob("*-values.yaml"))
            bad = sorted((CHART / "ci-fail").glob("*-values.yaml"))
            check(len(sets) >= 9 and len(bad) >= 20, "sets are missing")
            work = [pool.submit(renders, path, dir) for path in sets] + [pool.submit(fails, path) for path in bad]
            work += [pool.submit(values_have_effect), pool.submit(files_are_installed, dir), pool.submit(rules_are_mounted)]
            work.append(pool.submit(replicas_share_a_log))
            if GATEWAY:
                work.append(pool.submit(only_other_keys_restart))
            for one in work:
                one.result()
    if not GATEWAY:
        print("LEFT OUT: `check` of the rendered configurations: no gateway was given")
    print(f"the chart: {len(sets)} sets render, {len(bad)} fail as they must, {len(failures)} failures")
    sys.exit(bool(failures))


main()

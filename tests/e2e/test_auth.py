"""A cluster whose API server is given files by kube-apiserver's flags: each of them takes effect. And the rows of
sig-auth that need a Pod."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.e2e.harness import Cluster, busybox, pod, until

FLAGS = (
    "--authentication-config", "{tmp}/authentication.yaml", "--authorization-config", "{tmp}/authorization.yaml",
    "--encryption-provider-config", "{tmp}/encryption.yaml", "--audit-policy-file", "{tmp}/audit.yaml",
    "--audit-log-path", "{tmp}/audit.log", "--admission-control-config-file", "{tmp}/admission.yaml",
)  # fmt: skip
KEY = rsa.generate_private_key(65537, 2048)
FILES = {
    "authentication.yaml": """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {{url: "{url}", audiences: [cluster], certificateAuthority: {ca}}}
  claimMappings:
    username: {{expression: "'oidc:' + claims.sub"}}
    groups: {{expression: "claims.teams.map(t, 'team:' + t)"}}
  claimValidationRules: [{{expression: "claims.level > 1", message: too low}}]
  userValidationRules: [{{expression: "!user.username.startsWith('system:')", message: reserved}}]
""",
    "authorization.yaml": """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: teams
  webhook:
    timeout: 3s
    authorizedTTL: 1s
    unauthorizedTTL: 1s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {tmp}/webhook.yaml}}
    matchConditions: [{{expression: "'team:blue' in request.groups"}}]
- {{type: Node, name: node}}
- {{type: RBAC, name: rbac}}
""",
    "webhook.yaml": """
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
clusters: [{{name: c, cluster: {{server: "{url}/authorize", insecure-skip-tls-verify: true}}}}]
""",
    "encryption.yaml": """
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [{{aesgcm: {{keys: [{{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZg==}}]}}}}]
""",
    "audit.yaml": """
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{{level: Metadata, userGroups: ["team:blue"]}}]
""",
    "admission.yaml": """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {{warn: restricted}}
""",
}


class Outside(http.server.BaseHTTPRequestHandler):
    """An issuer of tokens, and a webhook that allows to get ConfigMaps."""

    url = ""

    def do_GET(self) -> None:
        if self.path.endswith("openid-configuration"):
            self._answer({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        else:
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
            self._answer({"keys": [{**key, "kid": "k", "alg": "RS256", "use": "sig"}]})

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["spec"].get("resourceAttributes") or {}
        self._answer({**review, "status": {"allowed": asked.get("resource") == "configmaps"}})

    def _answer(self, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Outside, bind_and_activate=False)


def prepare(directory: Path) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "outside")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(KEY, hashes.SHA256())
    )  # fmt: skip
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    pair = directory / "outside.pem"
    pair.write_bytes(
        pem + KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    SERVER.server_bind()
    SERVER.server_activate()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair)
    SERVER.socket = tls.wrap_socket(SERVER.socket, server_side=True)
    Outside.url = f"https://127.0.0.1:{SERVER.server_address[1]}"
    for file, text in FILES.items():
        (directory / file).write_text(text.format(url=Outside.url, ca=json.dumps(pem.decode()), tmp=directory))


@pytest.fixture
def outside() -> Iterator[None]:
    thread = threading.Thread(target=SERVER.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        SERVER.shutdown()
        thread.join()
        SERVER.server_close()


def token(**claims: object) -> str:
    said = {"iss": Outside.url, "aud": "cluster", "exp": time.time() + 600, "sub": "jane", "teams": ["blue"], **claims}
    return jwt.encode(said, KEY, "RS256", {"kid": "k"})


def test_every_file_takes_effect(cluster: Cluster, outside: None):
    jane = token(level=2)
    code, review = cluster.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, token=jane,
    )
    assert (code, review["status"]["userInfo"]["username"]) == (201, "oidc:jane")
    assert review["status"]["userInfo"]["groups"] == ["team:blue", "system:authenticated"]
    assert cluster.request("GET", "/api", token=token(level=1))[0] == 401
    asked = {
        path: cluster.request("GET", f"/api/v1/namespaces/default/{path}", token=jane)[0]
        for path in ("configmaps", "pods")
    }
    assert asked == {"configmaps": 200, "pods": 403}
    assert cluster.request("GET", "/api/v1/namespaces/default/configmaps", token=token(level=2, teams=[]))[0] == 403

    cluster.kubectl("create", "secret", "generic", "hidden", "--from-literal=word=abracadabra")
    data = Path(json.loads(cluster.podwright("status", "-o", "json").stdout)["data"])
    stored = b"".join(file.read_bytes() for file in (data / "store").iterdir() if file.is_file())
    assert b"k8s:enc:aesgcm:v1:k:" in stored and b"YWJyYWNhZGFicmE=" not in stored
    assert cluster.get("secret", "hidden")["data"] == {"word": "YWJyYWNhZGFicmE="}

    log = cluster.kubeconfig.with_name("audit.log")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    told = {(e["user"]["username"], e["objectRef"].get("resource"), e["responseStatus"]["code"])
            for e in events if e["stage"] == "ResponseComplete" and "objectRef" in e}
    assert {("oidc:jane", "configmaps", 200), ("oidc:jane", "pods", 403)} <= told

    plain = json.dumps(pod("p", busybox("a", "true")))
    made = cluster.try_kubectl("create", "--dry-run=server", "-f", "-", given=plain)
    assert made.returncode == 0 and 'would violate PodSecurity "restricted:latest"' in made.stderr


def test_other_files_are_other_flags(cluster: Cluster, tmp_path: Path):
    (tmp_path / "audit.yaml").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n")
    again = cluster.podwright("up", "--audit-policy-file", str(tmp_path / "audit.yaml"), check=False)
    assert again.returncode == 1 and "--audit-policy-file: the cluster has" in again.stderr


ISSUER_CLIENT = """
import json, ssl, sys, urllib.request
sys.path[:0] = sys.argv[1:]
import jwt
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
mounted = {name: open(account + name).read() for name in ("token", "ca.crt", "namespace")}
tls = ssl.create_default_context(cadata=mounted["ca.crt"])
def get(url):
    asked = urllib.request.Request(url, headers={"Authorization": "Bearer " + mounted["token"]})
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    return json.load(urllib.request.build_opener(*handlers).open(asked, timeout=30))
token = open("/var/run/secrets/tokens/sa-token").read()
issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
provider = get(issuer + "/.well-known/openid-configuration")
assert provider["issuer"] == issuer, provider
keys = jwt.PyJWKSet.from_dict(get(provider["jwks_uri"]))
key = keys[jwt.get_unverified_header(token)["kid"]].key
algorithms = provider["id_token_signing_alg_values_supported"]
claims = jwt.decode(token, key, algorithms=algorithms, audience="oidc-discovery-test", issuer=issuer)
print(json.dumps({"sub": claims["sub"], **mounted}))
"""


def test_a_pod_verifies_its_own_token(cluster: Cluster):
    """By the discovery of the token's issuer, with what is mounted into every Pod. The program runs by the host's
    Python, with its libraries at the paths that they have on the host."""
    library = str(Path(jwt.__file__).parents[1])
    known = {"/usr", "/lib", "/lib64", sys.base_prefix, library}
    places = sorted(p for p in known if Path(p).exists() and not p.startswith("/usr/"))
    mounts = [{"name": f"h{n}", "mountPath": p, "readOnly": True} for n, p in enumerate(places)]
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    source = {"serviceAccountToken": {"path": "sa-token", "expirationSeconds": 600, "audience": "oidc-discovery-test"}}
    volumes = [
        *({"name": f"h{n}", "hostPath": {"path": p}} for n, p in enumerate(places)),
        {"name": "sa-token", "projected": {"sources": [source]}},
    ]
    container = busybox("c", "") | {
        "command": [str(python), "-S", "-c", ISSUER_CLIENT, library],
        "volumeMounts": [*mounts, {"name": "sa-token", "mountPath": "/var/run/secrets/tokens", "readOnly": True}],
    }
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "discovery"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
        "subjects": [{"kind": "ServiceAccount", "name": "mount-test", "namespace": "default"}],
    }
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mount-test"}}, binding)
    verifies = pod("verifies", container, restartPolicy="Never", volumes=volumes, serviceAccountName="mount-test")
    cluster.apply(verifies)
    ended = until(lambda: cluster.pod("verifies")["status"]["phase"] in ("Succeeded", "Failed"), "the Pod ends")
    logs = cluster.kubectl("logs", "verifies")
    assert ended and cluster.pod("verifies")["status"]["phase"] == "Succeeded", logs
    seen = json.loads(logs)
    assert seen["sub"] == "system:serviceaccount:default:mount-test" and seen["namespace"] == "default"
    assert seen["ca.crt"] == cluster.get("configmap", "kube-root-ca.crt")["data"]["ca.crt"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": seen["token"]}}
    _, answer = cluster.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert answer["status"]["authenticated"] and "error" not in answer["status"]
    assert answer["status"]["user"]["username"] == "system:serviceaccount:default:mount-test"
    groups = {"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}
    assert groups <= set(answer["status"]["user"]["groups"])

// @kubernetes/client-node at work. CLIENT names the package's entry; each step that went right is a line of output.
import assert from 'node:assert/strict';
import net from 'node:net';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';

const k8s = await import(pathToFileURL(process.env.CLIENT).href);
const [, , pod] = process.argv;
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = 'default';

const collected = (stream) => {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
};

const steps = {
  async list_and_create() {
    const body = { metadata: { name: 'js', labels: { by: 'js' } }, data: { a: '1' } };
    const made = await core.createNamespacedConfigMap({ namespace, body });
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    const listed = await core.listNamespacedConfigMap({ namespace, labelSelector: 'by=js', limit: 1 });
    assert.deepEqual(listed.items.map((i) => i.metadata.name), ['js']);
    await assert.rejects(core.createNamespacedConfigMap({ namespace, body }), (e) => e.code === 409);
  },

  async apply_patch() {
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'js' }, data: { b: '2' } };
    const options = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply);
    const applied = await core.patchNamespacedConfigMap({ name: 'js', namespace, body, fieldManager: 'js' }, options);
    assert.deepEqual(applied.data, { a: '1', b: '2' });
    assert.ok(applied.metadata.managedFields.some((m) => m.manager === 'js' && m.operation === 'Apply'));
    const json = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch);
    const operations = [{ op: 'remove', path: '/data/a' }];
    const patched = await core.patchNamespacedConfigMap({ name: 'js', namespace, body: operations }, json);
    assert.deepEqual(patched.data, { b: '2' });
  },

  async generic_objects() {
    const objects = k8s.KubernetesObjectApi.makeApiClient(config);
    const spec = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'js', namespace }, stringData: { a: 'b' } };
    const made = await objects.create(spec);
    assert.equal(made.data.a, 'Yg==');
    const read = await objects.read(spec);
    assert.equal(read.metadata.uid, made.metadata.uid);
    await objects.delete(spec);
  },

  async informer() {
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'by=js' });
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, 'by=js');
    const seen = [];
    const done = new Promise((resolve, reject) => {
      for (const event of ['add', 'update', 'delete']) {
        informer.on(event, (obj) => {
          seen.push(`${event} ${obj.metadata.name}`);
          if (event === 'delete') resolve();
        });
      }
      informer.on('error', reject);
    });
    await informer.start();
    const body = [{ op: 'add', path: '/data/c', value: '3' }];
    const json = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch);
    await core.patchNamespacedConfigMap({ name: 'js', namespace, body }, json);
    await core.deleteNamespacedConfigMap({ name: 'js', namespace });
    await done;
    await informer.stop();
    assert.deepEqual(seen, ['add js', 'update js', 'delete js']);
  },

  async logs() {
    const out = new PassThrough();
    const text = collected(out);
    const ended = new Promise((resolve) => out.on('end', resolve));
    await new k8s.Log(config).log(namespace, pod, 'main', out, { tailLines: 1 });
    await ended;
    assert.equal(text(), 'started\n');
  },

  async exec() {
    const [out, err, input] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const [said, complained] = [collected(out), collected(err)];
    const status = await new Promise((resolve, reject) => {
      const command = ['sh', '-c', 'read x; echo got $x; echo no >&2; exit 3'];
      new k8s.Exec(config).exec(namespace, pod, 'main', command, out, err, input, false, resolve).catch(reject);
      input.write('line\n');
    });
    assert.equal(status.reason, 'NonZeroExitCode');
    assert.equal(status.details.causes[0].message, '3');
    assert.equal(said(), 'got line\n');
    assert.equal(complained(), 'no\n');
  },

  async port_forward() {
    const forward = new k8s.PortForward(config);
    const server = net.createServer((socket) => forward.portForward(namespace, pod, [8080], socket, null, socket));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const socket = net.connect(server.address().port, '127.0.0.1');
    const text = collected(socket);
    const arrived = new Promise((resolve) => socket.on('data', () => text().includes('hello\n') && resolve()));
    socket.write('GET / HTTP/1.0\r\n\r\n');
    await arrived;
    socket.destroy();
    server.close();
  },
};

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(name);
}
process.exit(0);

"""Stores in an S3 bucket: a server that speaks the protocol, read through s3fs."""

import pytest

from atomprint.data.store import Store, cache, is_store, remote
from atomprint.data.store.copying import merge_stores
from atomprint.ground.errors import DataError, UsageError
from tests.data.store.test_store import assert_same, crystals, written

boto3 = pytest.importorskip("boto3", reason="S3 needs s3fs (pip install s3fs 'moto[server]')")
s3fs = pytest.importorskip("s3fs", reason="S3 needs s3fs (pip install s3fs 'moto[server]')")
moto = pytest.importorskip("moto.server", reason="no S3 server here (pip install 'moto[server]')")


@pytest.fixture(scope="module")
def server():
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def local(tmp_path):
    return written(tmp_path / "s", crystals(20), shard_crystals=7, exact=True)


@pytest.fixture
def bucket(tmp_path, local, server, monkeypatch):
    """Address of the store in a bucket, and keys that are taken from the environment."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS", (0.01,))
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", ACL="public-read")
    for file in local.path.rglob("*"):
        if file.is_file():
            key = f"corpora/s/{file.relative_to(local.path)}"
            s3.put_object(Bucket="bucket", Key=key, Body=file.read_bytes(), ACL="public-read")
    yield "s3://bucket/corpora/s"
    s3fs.S3FileSystem.clear_instance_cache()


def test_the_same_crystals(tmp_path, local, bucket):
    store = Store(bucket)
    assert is_store(bucket)
    assert (len(store), store.hash(), store.units) == (20, local.hash(), local.units)
    for read, wanted in zip(store, crystals(20), strict=True):
        assert_same(read, wanted, 0)
    assert len(list((tmp_path / "cache").glob("*.shard"))) == 3
    merge_stores([store], tmp_path / "copy")
    assert list(Store(tmp_path / "copy").ids()) == list(local.ids())


def test_what_is_not_there(bucket):
    for place in (f"{bucket}/other", "s3://another-bucket/s"):
        with pytest.raises(UsageError, match=r"is no store \(there is no store.json\)"):
            Store(place)


def test_no_keys(bucket, monkeypatch):
    from fsspec import config

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    tried = []
    monkeypatch.setattr(remote.time, "sleep", tried.append)
    with pytest.raises(DataError, match=r"no keys that can be used \(Unable.*FSSPEC_S3_ANON=true"):
        Store(bucket)
    # Trying again would not bring any.
    assert not tried
    # What the sentence says to do, as fsspec takes it from the environment at its import.
    with monkeypatch.context() as public:
        public.setitem(config.conf, "s3", {})
        config.set_conf_env(config.conf, {"FSSPEC_S3_ANON": "true"})
        s3fs.S3FileSystem.clear_instance_cache()
        assert len(Store(bucket)) == 20
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match=r"no keys that can be used \(The config profile"):
        Store(bucket)


def test_keys_that_the_server_does_not_know(bucket, server):
    import requests

    def checked_after(n_requests):
        requests.post(f"{server}/moto-api/reset-auth", data=str(n_requests), timeout=10)

    checked_after(0)
    try:
        with pytest.raises(DataError, match="does not let you read it; use keys"):
            Store(bucket)
    finally:
        checked_after(1_000_000_000)

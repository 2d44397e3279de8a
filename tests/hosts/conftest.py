"""Other hosts for tests: a real ssh server on loopback, and hosts in network namespaces whose links can be cut.

`sshd`        an `sshd.Sshd`; its ssh configuration is $ERGON_SSH_CONFIG while the module's tests run
`hosts`       three hosts, a `netns.Hosts`; likewise
`make_hosts`  a function that makes them: make_hosts(n, shaped=…, with_ergon=…, hide=…)

All live as long as the test module that asked for them, and its end fails when anything is still running on a host
although ergon was shut down.
"""

import os
import sys

import netns
import pytest
import sshd as sshd_server


def _use(config):
    before = os.environ.get("ERGON_SSH_CONFIG")
    os.environ["ERGON_SSH_CONFIG"] = str(config)
    return before


def _restore(before):
    if before is None:
        os.environ.pop("ERGON_SSH_CONFIG", None)
    else:
        os.environ["ERGON_SSH_CONFIG"] = before


def _end_ergon():
    shutdown = getattr(sys.modules.get("ergon"), "shutdown", None)
    if shutdown is not None:
        shutdown()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    if why := sshd_server.missing():
        pytest.skip(why)
    server = sshd_server.Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    before = _use(server.config)
    yield server
    _restore(before)
    _end_ergon()
    server.stop()


@pytest.fixture(scope="module")
def make_hosts(tmp_path_factory):
    if why := netns.missing():
        pytest.skip(why)
    made, before = [], []

    def make(n=3, shaped=False, with_ergon=True, hide=()):
        hosts = netns.Hosts(tmp_path_factory.mktemp("hosts"), n, shaped, with_ergon, tuple(hide))
        made.append(hosts)
        before.append(_use(hosts.config))
        return hosts

    yield make
    if before:
        _restore(before[0])
    _end_ergon()
    left = [line for hosts in made for line in hosts.left_over()]
    for hosts in made:
        hosts.stop()
    assert not left, "still running on hosts:\n  " + "\n  ".join(left)


@pytest.fixture(scope="module")
def hosts(make_hosts):
    return make_hosts(3)


@pytest.fixture(autouse=True)
def _ssh_configuration(request):
    """In a module that uses several, each test gets that of the fixture it names."""
    for name in ("sshd", "hosts"):
        if name in request.fixturenames:
            os.environ["ERGON_SSH_CONFIG"] = str(request.getfixturevalue(name).config)

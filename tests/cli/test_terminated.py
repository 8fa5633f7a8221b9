"""SIGTERM, as schedulers send it, is an interrupt with another status."""

import signal

import pytest

from atomprint.cli.errors import Interrupted, report_errors
from atomprint.ground.processes import Terminated, terminate
from atomprint.training.stopping import StopRequests


@pytest.fixture
def handled():
    old = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, old)


def test_it_is_one_sentence_and_143(handled, capsys):
    assert report_errors(lambda: signal.raise_signal(signal.SIGTERM)) == 143
    assert capsys.readouterr().err == "atomprint: ended by SIGTERM\n"


@pytest.mark.parametrize(
    ("error", "status"), [(Terminated(signal.SIGTERM), 143), (KeyboardInterrupt(), 130)]
)
def test_a_command_says_how_to_go_on_with_the_status_of_the_signal(error, status, capsys):
    def command():
        try:
            raise error
        except KeyboardInterrupt:
            raise Interrupted("interrupted; go on") from None

    assert report_errors(command) == status
    assert capsys.readouterr().err == "atomprint: interrupted; go on\n"


def test_the_loop_takes_it_over(handled):
    with StopRequests() as requests:
        signal.raise_signal(signal.SIGTERM)
        assert requests.asked == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is terminate

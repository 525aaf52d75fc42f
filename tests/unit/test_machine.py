"""What a container may use, from files such as the kernel shows them."""

import os
from pathlib import Path

import pytest

from loader.edges.machine import cpus, memory

ALL_CPUS = len(os.sched_getaffinity(0))


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    assert cpus(tmp_path) == ALL_CPUS
    assert memory(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("quota", "count"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", ALL_CPUS)]
)
def test_a_quota_of_processor_time_counts(tmp_path: Path, quota: str, count: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert cpus(tmp_path) == count


def test_a_quota_larger_than_the_machine_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000000 100000")
    assert cpus(tmp_path) == ALL_CPUS


def test_version_1_tells_the_same_in_other_files(tmp_path: Path) -> None:
    for name, text in {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("536870912\n")

    assert (cpus(tmp_path), memory(tmp_path)) == (1, 512 << 20)


@pytest.mark.parametrize(("text", "limited"), [("536870912", True), ("max", False), ("", False)])
def test_a_limit_of_memory_counts(tmp_path: Path, text: str, limited: bool) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert (memory(tmp_path) == 512 << 20) == limited

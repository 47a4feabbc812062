"""From what somebody wants to measure with to what is there: CPUs, versions, providers."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edgecost.profiler.client import describe_interpreter
from edgecost.profiler.errors import MissingPackage, RunnerError, UsageError
from edgecost.profiler.records import Json, RuntimeProfile
from edgecost.profiler.runtimes import (
    BUILT_IN,
    allowed_cpus,
    check_cpus,
    described_version,
    host_profile,
    resolve,
    timing_cpus,
)

ORT = BUILT_IN["ort"]
FOUND: Json = {"version": "1.2.3", "providers": ["CPUExecutionProvider", "AzureExecutionProvider"]}


def description(runtime: Json) -> dict[str, Json]:
    return {"python_version": "3.9.2", "runtimes": {"onnxruntime": runtime, "tvm": None}}


def test_the_host_profile_is_what_the_first_version_measured_with() -> None:
    profile = host_profile()
    assert profile == RuntimeProfile("onnxruntime", profile.version)
    assert resolve(ORT) == profile
    assert resolve(ORT, threads=1, precision="fp16") == replace(profile, precision="fp16")


@pytest.mark.parametrize("threads", [-1, len(allowed_cpus()) + 1])
def test_threads_that_this_process_may_not_use_are_refused(threads: int) -> None:
    with pytest.raises(UsageError, match=f"{threads} threads were asked for; this process may use 1 to"):
        resolve(ORT, threads=threads)


def test_cpus_that_this_process_may_not_use_are_refused() -> None:
    with pytest.raises(UsageError, match=r"CPU 98765 is not among"):
        check_cpus(replace(ORT, affinity=(allowed_cpus()[0], 98765)))
    check_cpus(replace(ORT, affinity=allowed_cpus()))


def test_the_cpus_to_time_on_are_the_last_ones_that_are_allowed() -> None:
    assert timing_cpus(1) == allowed_cpus()[-1:]
    assert timing_cpus(len(allowed_cpus())) == allowed_cpus()
    if hasattr(os, "sched_getaffinity"):
        assert set(allowed_cpus()) == os.sched_getaffinity(0)


def test_a_version_is_that_of_the_interpreter_which_was_asked() -> None:
    assert described_version(ORT, description(FOUND)) == "1.2.3"


def test_a_runtime_that_an_interpreter_lacks_is_a_missing_package_with_the_line_that_installs_it() -> None:
    with pytest.raises(MissingPackage, match=r"/opt/python \(version 3\.9\.2\) has no onnxruntime") as caught:
        described_version(replace(ORT, interpreter="/opt/python"), description(None))
    assert "edgecost[host]" in caught.value.remedy
    with pytest.raises(MissingPackage) as caught:
        described_version(BUILT_IN["tvm"], description(FOUND))
    assert "edgecost[tvm]" in caught.value.remedy


@pytest.mark.parametrize("name", ["ort-cuda", "ort-tensorrt", "ort-openvino", "ort-xnnpack", "ort-acl"])
def test_a_provider_that_a_build_lacks_is_wrong_usage_and_names_those_it_has(name: str) -> None:
    with pytest.raises(UsageError, match="it has CPUExecutionProvider, AzureExecutionProvider") as caught:
        described_version(BUILT_IN[name], description(FOUND))
    assert "edgecost runtime add" in caught.value.remedy


def test_an_accelerator_may_not_leave_part_of_the_graph_to_the_cpu() -> None:
    for named in BUILT_IN.values():
        on_cpu = named.provider in ("CPUExecutionProvider", "llvm") or named.runtime == "virtual"
        assert ("session.disable_cpu_ep_fallback" in dict(named.options)) != on_cpu


def test_this_interpreter_says_which_runtimes_it_has() -> None:
    found = describe_interpreter()
    assert described_version(ORT, found) == host_profile().version


def test_an_interpreter_that_is_no_python_is_an_error_of_the_runner() -> None:
    with pytest.raises(RunnerError, match="could not say which runtimes it has") as caught:
        describe_interpreter("/bin/false")
    assert "3.6" in caught.value.remedy

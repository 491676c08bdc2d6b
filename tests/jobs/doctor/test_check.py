from __future__ import annotations

from jobs.doctor.check import Check, run_checks


def test_a_check_that_breaks_is_a_finding_and_stops_no_other() -> None:
    def broken() -> Check:
        raise RuntimeError("no driver")

    well = Check("memory", "ok", "enough")
    assert run_checks([("devices", broken), ("memory", lambda: well)]) == [
        Check("devices", "fail", "RuntimeError: no driver"),
        well,
    ]
    assert well.to_json() == {"name": "memory", "state": "ok", "finding": "enough"}

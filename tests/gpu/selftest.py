#!/usr/bin/env python3
"""Tests of the GPU kit that need neither a GPU nor a server: a fault of any part must be reported as one.

The tests that start a server are in loadtest/tests/gpu_kit.rs, which runs these as well.
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from kit import device, libraries, load, pieces, report
from kit.checks import golden, reloads
from kit.clock import Clock, OutOfTime
from kit.rows import Rows, difference
from kit.server import property_bytes
from kit.setting import SIZES, Setting

HERE = Path(__file__).resolve().parent
ABOUT = {"machine": "x86_64", "glibc": "2.17", "onnxruntime": "1.28.0"}


class InFolder(unittest.TestCase):
    """A test with a temporary folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name, content=b""):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def packed(self, size=400_000, limit=100_000):
        """A kit of two files in several pieces, in `pieces`."""
        self.file("kit/lib/big", os.urandom(size))
        self.file("kit/bin/program", b"#!").chmod(0o755)
        return pieces.pack(self.folder / "kit", self.folder / "pieces", limit, 0, ABOUT)

    def inbox(self):
        manifest = pieces.read_manifest(self.folder / "pieces/manifest.json")
        return pieces.Inbox(manifest, self.folder / "work")


class PiecesTest(InFolder):
    def test_pieces_are_accepted_in_any_order_and_joined_when_all_are_there(self):
        manifest = self.packed()
        self.assertGreater(len(manifest["pieces"]), 3)
        self.assertLessEqual(max(piece["bytes"] for piece in manifest["pieces"]), 100_000)
        for piece in reversed(manifest["pieces"]):
            inbox = self.inbox()
            with self.assertRaisesRegex(pieces.Missing, "pieces are missing: .*" + piece["name"]):
                inbox.join()
            self.file("here/" + piece["name"], (self.folder / "pieces" / piece["name"]).read_bytes())
            self.assertEqual(inbox.accept([self.folder / "here"]), [])
            (self.folder / "here" / piece["name"]).unlink()
        kit = self.inbox().join()
        self.assertEqual((kit / "lib/big").read_bytes(), (self.folder / "kit/lib/big").read_bytes())
        self.assertTrue(os.access(kit / "bin/program", os.X_OK))
        self.assertEqual(self.inbox().missing(), [])

    def test_same_files_give_the_same_pieces(self):
        self.assertEqual(self.packed()["pieces"], pieces.pack(self.folder / "kit", self.folder / "again", 100_000, 0, ABOUT)["pieces"])

    def test_pieces_can_be_joined_by_hand(self):
        manifest = self.packed()
        joined = b"".join((self.folder / "pieces" / piece["name"]).read_bytes() for piece in manifest["pieces"])
        with tarfile.open(fileobj=io.BytesIO(joined), mode="r:xz") as archive:
            self.assertEqual(archive.getnames(), ["bin/program", "lib/big"])

    def test_damaged_piece_is_named_and_not_accepted(self):
        piece = self.packed()["pieces"][1]
        path = self.folder / "pieces" / piece["name"]
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for damaged, why in ((bytes(flipped), "SHA-256"), (whole[:-1], "bytes instead of")):
            path.write_bytes(damaged)
            [fault] = self.inbox().accept([self.folder / "pieces"])
            self.assertIn(f"{piece['name']} is damaged", fault)
            self.assertIn(why, fault)
        self.assertEqual([p["name"] for p in self.inbox().missing()], [piece["name"]])
        path.write_bytes(whole)
        self.assertEqual(self.inbox().accept([self.folder / "pieces"]), [])

    def test_damaged_unpacked_file_is_named(self):
        self.packed()
        inbox = self.inbox()
        inbox.accept([self.folder / "pieces"])
        (inbox.join() / "lib/big").write_bytes(b"other")
        with self.assertRaisesRegex(pieces.KitError, "lib/big is missing or damaged"):
            inbox.join()

    def test_manifest_that_leads_out_of_the_folder_is_refused(self):
        manifest = self.packed()
        files = [("contents", [{"path": path}]) for path in ("../x", "/x")]
        for key, value in (*files, ("pieces", [{"name": "../x.xz"}]), ("format", 2)):
            path = self.file("bad/manifest.json", json.dumps(manifest | {key: value}).encode())
            with self.assertRaises(pieces.KitError):
                pieces.read_manifest(path)
        with self.assertRaisesRegex(pieces.Missing, "cannot be read"):
            pieces.read_manifest(self.folder / "none.json")


class LibrariesTest(InFolder):
    def test_libraries_are_found_in_packages_of_python_and_missing_ones_are_named(self):
        for name in libraries.NEEDED:
            folder = "cudnn" if "cudnn" in name else "cu13"
            self.file(f"site/nvidia/{folder}/lib/{name}")
        folders = libraries.places(environ={}, path=[str(self.folder / "site")])
        found = libraries.find(folders, {})
        self.assertEqual(libraries.missing(found), [])
        self.assertEqual(libraries.search_path(found).count(str(self.folder)), 2)

        (self.folder / "site/nvidia/cudnn/lib/libcudnn_ops.so.9").unlink()
        only = [self.folder / "site/nvidia/cudnn/lib", self.folder / "site/nvidia/cu13/lib"]
        found = libraries.find(only, {})
        self.assertEqual(libraries.missing(found), ["libcudnn_ops.so.9"])
        said = libraries.complaint(libraries.missing(found), only)
        for part in ("libcudnn_ops.so.9", str(only[0]), "--libraries", "nvidia-cudnn-cu13"):
            self.assertIn(part, said)
        self.assertNotIn("driver", said)
        said = libraries.complaint([libraries.DRIVER], only)
        self.assertIn("comes with the driver", said)
        self.assertNotIn("install CUDA", said)
        cached = {"libcudnn_ops.so.9": Path("/lib/libcudnn_ops.so.9")}
        self.assertEqual(libraries.missing(libraries.find(only, cached)), [])

    def test_given_folders_come_first(self):
        given, loaded = self.file("a/x").parent, self.file("b/x").parent
        self.assertEqual(libraries.places([str(given)], {"LD_LIBRARY_PATH": str(loaded)}, [])[:2], [given, loaded])

    def test_file_that_is_no_library_is_reported(self):
        path = self.file("lib/libcuda.so.1", b"text")
        faults = libraries.load(dict.fromkeys(libraries.NEEDED, path))
        self.assertIn("cannot be opened", faults[0])


class DeviceTest(InFolder):
    def smi(self, script):
        """Puts a program named nvidia-smi on a PATH of its own."""
        self.file("bin/nvidia-smi", f"#!/bin/sh\n{script}\n".encode()).chmod(0o755)
        return mock.patch.dict(os.environ, {"PATH": str(self.folder / "bin")})

    def test_gpu_and_its_driver_are_read(self):
        with self.smi("echo 'A GPU, 81559, 580.10'"):
            self.assertEqual(device.describe("0"), {"gpu": "A GPU", "gpu_memory_mib": 81559.0, "driver": "580.10"})

    def test_faults_of_the_gpu_are_reported(self):
        cases = (("echo 'A GPU, 81559, 570.10'", "CUDA 13 needs 580"), ("echo broken >&2; exit 9", "broken"), ("exit 0", "prints nothing"))
        for script, why in (*cases, ("echo a", "3 values")):
            with self.smi(script), self.assertRaisesRegex(pieces.KitError, why):
                device.describe("0")
        with mock.patch.dict(os.environ, {"PATH": str(self.folder)}), self.assertRaisesRegex(pieces.KitError, "not on the PATH"):
            device.describe("0")
        with self.smi("echo '[N/A]'"), self.assertRaisesRegex(pieces.KitError, "memory.used"):
            device.gpu_used_mib("0")

    def test_system_on_which_the_programs_cannot_run_is_refused(self):
        facts = {"machine": "x86_64", "glibc": "2.31"}
        device.check_system(facts, ABOUT)
        for about, why in ((ABOUT | {"glibc": "2.34"}, "glibc 2.34"), (ABOUT | {"machine": "aarch64"}, "aarch64")):
            with self.assertRaisesRegex(pieces.KitError, why):
                device.check_system(facts, about)


class AnswersTest(InFolder):
    def test_wrong_answer_is_reported(self):
        self.assertLess(difference([1.0, -2.0], [1.0, -2.0002]), 1.1e-4)
        for got in ([1.0, float("nan")], [1.0, None], [1.0, "x"]):
            self.assertEqual(difference([1.0, 2.0], got), float("inf"))
        self.file("models/m/rows.json", json.dumps({"x_width": [1], "x": [[1.0]], "y": [[4.0]]}).encode())
        rows = Rows(self.folder, "m")
        answer = lambda data: {"outputs": [{"name": "y", "data": data}]}
        self.assertEqual(rows.compare(answer([4.0, 4.0]), [0, 0], 1e-4), 0.0)
        for wrong, why in ((answer([4.1]), "wrong answer: row 0"), (answer([4.0, 4.0]), "2 values"), ({}, "no output y")):
            with self.assertRaisesRegex(pieces.KitError, why):
                rows.compare(wrong, [0], 1e-2)

    def test_model_that_runs_elsewhere_is_reported(self):
        server = mock.Mock(properties=lambda _: {"ortus.provider": "cpu"})
        golden.require_provider(server, "m3", "cpu")
        with self.assertRaisesRegex(pieces.KitError, "runs on 'cpu' and not on 'cuda'"):
            golden.require_provider(server, "m3", "cuda")
        server.process.pid = os.getpid()
        setting = mock.Mock(device="0")
        with self.assertRaisesRegex(pieces.KitError, "libcudnn.so.9"):
            golden.require_cuda(server, setting, 0.0)
        mapped = {name: name for name in golden.CUDA_LIBRARIES}
        with mock.patch.object(device, "mapped", lambda _: mapped), mock.patch.object(device, "gpu_used_mib", lambda _: 510.0):
            self.assertEqual(golden.require_cuda(server, setting, 10.0)["gpu_memory_grew_mib"], 500.0)
            with self.assertRaisesRegex(pieces.KitError, "grew by 2 MiB"):
                golden.require_cuda(server, setting, 508.0)

    def test_memory_that_grows_with_each_reload_is_reported(self):
        setting = mock.Mock(size=SIZES["full"])
        sample = lambda at, growth: {"reload": at, "gpu_mib": 500.0 + growth * at, "resident_mib": 100.0}
        steady = [sample(at, 0.0) for at in range(0, 51, 2)]
        figures = {}
        reloads.judge(setting, steady, figures)
        self.assertEqual(figures["slope_per_reload"]["gpu_mib"], 0.0)
        with self.assertRaisesRegex(pieces.KitError, "gpu_mib grows by 0.53 MiB"):
            reloads.judge(setting, [sample(at, 0.53) for at in range(0, 51, 2)], {})

    def test_note_of_a_model_is_a_protobuf_field(self):
        self.assertEqual(property_bytes(""), b"")
        self.assertEqual(property_bytes("v2"), b"r\x0d\x0a\x07gpu-kit\x12\x02v2")


class LoadTest(unittest.TestCase):
    FIGURES = {"right": 5, "wrong": 0, "overloaded": 0, "expired": 0, "errors": 0, "void": False}

    def read(self, code=0, **other):
        return load.read_load(json.dumps(self.FIGURES | other), "why", code)

    def test_lost_requests_and_failures_of_the_generator_are_reported(self):
        self.assertEqual(self.read()["right"], 5)
        self.assertEqual(self.read(1, void=True)["right"], 5)
        for kind in ("wrong", "overloaded", "expired", "errors"):
            with self.assertRaisesRegex(pieces.KitError, f"requests were lost: .*{kind}"):
                self.read(1, **{kind: 1})
        with self.assertRaisesRegex(pieces.KitError, "failed: why"):
            self.read(1)
        with self.assertRaisesRegex(pieces.KitError, "printed nothing"):
            load.read_load("", "", 1)

    def test_load_in_which_no_request_ended_is_repeated_for_longer(self):
        ran = [mock.Mock(stdout=json.dumps(self.FIGURES | {"right": right}), stderr="", returncode=0) for right in (0, 0, 3)]
        asked = []
        command = lambda *_, **pace: asked.append(pace["seconds"])
        with mock.patch.object(load, "run", lambda *_: ran.pop(0)), mock.patch.object(load, "command_of_load", command):
            figures = load.load(mock.Mock(), mock.Mock(), "m3", "sample.json", mock.Mock(), seconds=0.2)
        self.assertEqual((figures["right"], asked), (3, [0.2, 0.4, 0.8]))


class RunTest(InFolder):
    def run_kit(self, *options):
        """Runs the program `run` on a packed kit; returns its exit code, report and output."""
        loader = importlib.machinery.SourceFileLoader("kit_run", str(HERE / "run"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("kit_run", loader))
        loader.exec_module(module)
        folders = [f"--{name}={self.folder / name}" for name in ("pieces", "work", "out")]
        printed = io.StringIO()
        with mock.patch.object(sys, "argv", ["run", *folders, *options]), contextlib.redirect_stdout(printed):
            code = module.main()
        path = self.folder / "out/report.json"
        return code, json.loads(path.read_text()) if path.exists() else None, printed.getvalue()

    def test_missing_library_fails_the_run_and_no_later_step_counts(self):
        self.packed()
        with mock.patch.object(libraries, "places", lambda given: [self.folder]):
            with mock.patch.object(libraries, "known_to_loader", dict):
                code, done, _ = self.run_kit()
        self.assertEqual(code, 1)
        self.assertEqual(done["verdict"], "failed")
        states = {step["name"]: step["state"] for step in done["steps"]}
        expected = {"pieces": "ok", "machine": "failed"} | dict.fromkeys(("refusal", "golden", "swap", "share", "reloads"), "not run")
        self.assertEqual(states, expected)
        self.assertIn("libcudnn.so.9", done["steps"][1]["error"])
        self.assertIn(str(self.folder), done["steps"][1]["error"])

    def test_missing_piece_is_named(self):
        piece = self.packed()["pieces"][2]["name"]
        (self.folder / "pieces" / piece).unlink()
        code, done, printed = self.run_kit()
        self.assertEqual((code, done["verdict"]), (3, "failed"))
        self.assertIn(f"pieces are missing: {piece}", printed)

    def test_damaged_piece_fails_the_run(self):
        piece = self.packed()["pieces"][2]["name"]
        self.file(f"pieces/{piece}", b"damaged")
        code, done, _ = self.run_kit()
        self.assertEqual(code, 1)
        self.assertIn(f"{piece} is damaged", done["steps"][0]["error"])
        self.assertEqual({step["state"] for step in done["steps"][1:]}, {"not run"})

    def test_run_over_its_limit_fails(self):
        self.packed()
        code, done, _ = self.run_kit("--minutes", "0", "--provider", "cpu")
        self.assertEqual(code, 1)
        self.assertEqual({step["state"] for step in done["steps"]}, {"not run"})

    def test_unknown_step_is_refused(self):
        with self.assertRaisesRegex(SystemExit, "no step is named 'x'"):
            self.run_kit("--steps", "x")


class ClockTest(unittest.TestCase):
    def test_step_ends_with_its_budget_and_the_run_with_its_limit(self):
        now = [100.0]
        clock = Clock(60, lambda: now[0])
        clock.begin_step(reserved=50)
        self.assertEqual(clock.left(), 10)
        now[0] += 10
        with self.assertRaises(OutOfTime):
            clock.left()
        now[0] = 130.0
        clock.begin_step(reserved=20)
        self.assertEqual(clock.left(), 10)

    def test_budgets_of_all_steps_fit_into_the_limit(self):
        text = (HERE / "run").read_text()
        budgets = json.loads(text.split("BUDGETS = ")[1].split("\n")[0])
        minutes = int(text.split("MINUTES = ")[1].split("\n")[0])
        self.assertLessEqual(sum(budgets.values()), minutes * 60)

    def test_only_a_run_whose_steps_are_all_ok_is_ok(self):
        steps = lambda *states: {"steps": [{"state": state} for state in states]}
        self.assertEqual(report.verdict(steps("ok", "ok")), "ok")
        for states in (("ok", "failed"), ("ok", "not run"), ()):
            self.assertEqual(report.verdict(steps(*states)), "failed")
        self.assertEqual(report.verdict(steps("ok"), ["swap"]), "failed")


class SettingTest(InFolder):
    def test_programs_get_the_libraries_and_their_own_folders(self):
        setting = Setting(self.folder, self.folder, ABOUT, "cuda", "1", SIZES["small"], "/a:/b", chosen_device=True)
        with mock.patch.dict(os.environ, {"LD_LIBRARY_PATH": "/c", "SECRET": "x"}):
            env = setting.environment(self.folder)
        self.assertEqual((env["LD_LIBRARY_PATH"], env["CUDA_VISIBLE_DEVICES"]), ("/a:/b:/c", "1"))
        self.assertNotIn("SECRET", env)


if __name__ == "__main__":
    unittest.main()

"""New versions are swapped in under load, and no request is lost.

`ortus-loadtest` keeps 16 requests in flight over gRPC, again and again until the last swap is done. One more client asks over
HTTP without a pause, compares each answer with the golden one, and sees the version that gave it.
"""

import threading

from ..clock import OutOfTime
from ..load import load
from ..pieces import KitError
from ..rows import TOLERANCE, Rows
from ..server import Server, copy_model, fresh_folder

MODEL = "m3"
PAUSE = 0.02


class Load:
    """The load over gRPC, on a thread of its own: the figures of each part, and the first fault."""

    def __init__(self, *arguments):
        self.arguments, self.parts, self.fault = arguments, [], None
        self.swapped = threading.Event()
        self.thread = threading.Thread(target=self.send, daemon=True)

    def send(self):
        setting, server, sample, clock = self.arguments
        pace = {"in_flight": 16, "seconds": setting.size.load_seconds, "warm_up": 0}
        try:
            while not self.parts or not self.swapped.is_set():
                self.parts.append(load(setting, server, MODEL, sample, clock, **pace))
        except Exception as error:
            self.fault = error


class Watch:
    """The HTTP client, on a thread of its own: the versions that answered, in order, and the first fault."""

    def __init__(self, server, rows, tolerance):
        self.server, self.rows, self.tolerance = server, rows, tolerance
        self.versions, self.answers, self.fault = [], 0, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def ask(self):
        row = 0
        while not self.ended.is_set() and self.fault is None:
            try:
                answer = self.server.infer(MODEL, self.rows.request([row]))
                self.rows.compare(answer, [row], self.tolerance)
            except Exception as error:
                self.fault = error
                return
            if version := answer.get("model_version"):
                if not self.versions or self.versions[-1] != version:
                    self.versions.append(version)
            self.answers += 1
            row = (row + 1) % len(self.rows.x)

    def has_seen(self, version):
        return bool(self.versions) and self.versions[-1] == version


def check(setting, clock, figures):
    models = fresh_folder(setting.work, "swap")
    copy_model(setting.kit, MODEL, models / MODEL)
    rows = Rows(setting.kit, MODEL)
    sample = setting.kit / "models" / MODEL / "sample.json"
    with Server(setting, clock, models, defaults=setting.defaults(lanes=2)) as server:
        server.require_ready()
        watch = Watch(server, rows, TOLERANCE[setting.provider])
        sent = Load(setting, server, sample, clock)
        watch.thread.start()
        sent.thread.start()
        try:
            swap_all(setting, clock, models, watch, sent)
            sent.swapped.set()
            wait(lambda: not sent.thread.is_alive(), watch, sent, clock)
        finally:
            sent.swapped.set()
            watch.ended.set()
            watch.thread.join(10)
    raise_faults(watch, sent)
    wanted = [str(version) for version in range(1, setting.size.swaps + 2)]
    if watch.versions != wanted:
        raise KitError(f"answers came from versions {watch.versions} instead of {wanted}")
    figures |= {"swaps": setting.size.swaps, "lost": 0, "checked_answers": watch.answers}
    figures["requests"] = sum(part["requests"] for part in sent.parts) + watch.answers
    figures |= {key: max(part[key] for part in sent.parts) for key in ("p50_us", "p99_us", "max_us")}


def raise_faults(watch, sent):
    for fault in (watch.fault, sent.fault):
        if fault is not None:
            raise fault if isinstance(fault, OutOfTime) else KitError(f"a request failed during the swaps: {fault}")


def wait(condition, watch, sent, clock):
    while not condition():
        raise_faults(watch, sent)
        clock.pause(PAUSE)


def swap_all(setting, clock, models, watch, sent):
    wait(lambda: watch.has_seen("1"), watch, sent, clock)
    for version in range(2, setting.size.swaps + 2):
        copy_model(setting.kit, MODEL, models / MODEL, version, note=f"version {version}")
        wait(lambda: watch.has_seen(str(version)), watch, sent, clock)

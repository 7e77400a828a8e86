"""Memory after many reloads: unload, load, and an answer each time, of three models in turn."""

from .. import device
from ..pieces import KitError
from ..rows import TOLERANCE, Rows
from ..server import Server, fresh_folder, copy_model

MODELS = ("m4", "m3", "m5")
# Reloads that are not counted in the slope: pools and caches fill.
SETTLING_SHARE = 0.2
# How often memory is read: nvidia-smi can take a second.
EVERY = 5
# MiB per reload. Weights of m3 that stay behind (1.6 MB, on every third reload) would show as 0.5.
GPU_SLOPE_MAX = 0.4
RESIDENT_SLOPE_MAX = 0.4


def check(setting, clock, figures):
    models = fresh_folder(setting.work, "reloads")
    for model in MODELS:
        copy_model(setting.kit, model, models / model)
    rows = {model: Rows(setting.kit, model) for model in MODELS}
    with Server(setting, clock, models, defaults=setting.defaults(lanes=1), control="explicit") as server:
        for model in MODELS:
            server.ask("POST", f"/v2/repository/models/{model}/load", b"{}")
        samples = figures["samples"] = [memory(setting, server, 0)]
        for reload in range(1, setting.size.reloads + 1):
            model = MODELS[reload % len(MODELS)]
            server.ask("POST", f"/v2/repository/models/{model}/unload", b"{}")
            server.ask("POST", f"/v2/repository/models/{model}/load", b"{}")
            answer = server.infer(model, rows[model].request([0]))
            rows[model].compare(answer, [0], TOLERANCE[setting.provider])
            if reload % EVERY == 0 or reload == setting.size.reloads:
                samples.append(memory(setting, server, reload))
    judge(setting, samples, figures)


def memory(setting, server, reload):
    gpu = device.gpu_used_mib(setting.device) if setting.provider == "cuda" else None
    return {"reload": reload, "gpu_mib": gpu, "resident_mib": device.resident_mib(server.process.pid)}


def judge(setting, samples, figures):
    """Slopes after the first reloads; a steady growth is a fault in a run of full size."""
    first = SETTLING_SHARE * setting.size.reloads
    settled = [sample for sample in samples if sample["reload"] >= first]
    slopes = figures["slope_per_reload"] = {}
    figures |= {"reloads": setting.size.reloads, "first": samples[0], "last": samples[-1]}
    for key, limit in (("gpu_mib", GPU_SLOPE_MAX), ("resident_mib", RESIDENT_SLOPE_MAX)):
        if samples[0][key] is None:
            continue
        slopes[key] = device.slope([(sample["reload"], sample[key]) for sample in settled])
        if slopes[key] > limit and setting.size.reloads >= 50:
            raise KitError(f"{key} grows by {slopes[key]:.2f} MiB with each reload; accepted is {limit}")

"""Every model answers its golden rows, alone and in one batch, and runs on the provider that was asked for."""

from .. import device
from ..pieces import KitError
from ..rows import TOLERANCE, Rows
from ..server import Server, copy_model, fresh_folder
from ..setting import MODELS

# Libraries that must be in the server's memory once models ran on CUDA.
CUDA_LIBRARIES = ("libonnxruntime_providers_cuda.so", "libcudart.so.13", "libcublas.so.13", "libcudnn.so.9")
# A CUDA context alone takes more than this.
GPU_MIB_MIN = 50
EXACT = "-without-tf32"
# The models that multiply.
ARITHMETIC = ("m3", "m4", "m5")
WITHOUT_TF32 = 'providers = [{ name = "cuda", options = { use_tf32 = "0" } }]'


def check(setting, clock, figures):
    models = fresh_folder(setting.work, "golden")
    served, tables = copy_models(setting, models, MODELS, ARITHMETIC)
    before = device.gpu_used_mib(setting.device) if setting.provider == "cuda" else 0.0
    with Server(setting, clock, models, defaults=setting.defaults(lanes=1), tables=tables) as server:
        server.require_ready()
        compare_all(setting, server, served, figures.setdefault("differences", {}))
        figures["batching"] = {alias: server.properties(alias).get("ortus.batching") for alias, _, _ in served}
        if setting.provider == "cuda":
            figures |= require_cuda(server, setting, before)


def copy_models(setting, target, models, arithmetic):
    """Copies models, on CUDA those that multiply once more to be served without TF32.

    Returns what is served, each as alias, model and tolerance, and the lines of its configuration.
    """
    served = [(name, name, TOLERANCE[setting.provider]) for name in models]
    tables = []
    if setting.provider == "cuda":
        for name in arithmetic:
            served.append((name + EXACT, name, TOLERANCE["cuda without TF32"]))
            tables += [f'[model."{name + EXACT}"]', WITHOUT_TF32]
    for alias, name, _ in served:
        copy_model(setting.kit, name, target / alias)
    return served, tables


def compare_all(setting, server, served, differences):
    """Fills in the largest difference of every served model from its golden answers."""
    for alias, name, tolerance in served:
        differences[alias] = {"largest": ask_all(server, alias, Rows(setting.kit, name), tolerance), "accepted": tolerance}
        require_provider(server, alias, setting.provider)


def ask_all(server, alias, rows, tolerance):
    every = list(range(len(rows.x)))
    worst = 0.0
    for chosen in [[row] for row in every] + [every]:
        worst = max(worst, rows.compare(server.infer(alias, rows.request(chosen)), chosen, tolerance))
    return worst


def require_provider(server, alias, provider):
    actual = server.properties(alias).get("ortus.provider")
    if actual != provider:
        raise KitError(f"{alias} runs on {actual!r} and not on {provider!r}")


def require_cuda(server, setting, before):
    """Evidence from outside the server: libraries that it has in memory, and memory that the GPU has in use."""
    mapped = device.mapped(server.process.pid)
    if absent := [name for name in CUDA_LIBRARIES if not any(name in have for have in mapped)]:
        raise KitError(f"the server says that it runs on CUDA, but does not have {', '.join(absent)} in memory")
    grown = device.gpu_used_mib(setting.device) - before
    if grown < GPU_MIB_MIN:
        raise KitError(f"the server says that it runs on CUDA, but the GPU's memory in use grew by {grown:.0f} MiB only")
    libraries = {name: path for name, path in mapped.items() if name.startswith(("libcu", "libnv", "libonnx"))}
    return {"gpu_memory_grew_mib": grown, "libraries_in_memory": libraries}

"""The outcome of a run: report.json for programs, and README.md for people."""

import json
from pathlib import Path

OK, FAILED, NOT_RUN = "ok", "failed", "not run"


def write(out, report):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "README.md").write_text(page(report))


def verdict(report, planned=()):
    """Ok if every step is; `planned` are steps that have not begun."""
    states = [step["state"] for step in report["steps"]]
    return OK if states and not planned and all(state == OK for state in states) else FAILED


def page(report):
    """The report in Markdown."""
    machine = report.get("machine", {})
    lines = [f"# GPU kit: {report['verdict']}", ""]
    lines += [f"- command: `{report['command']}`"]
    lines += [f"- provider: {report['provider']}, size: {report['size']}, {report['seconds']:.0f} s of {report['limit_seconds']:.0f} s"]
    about = report.get("about", {})
    lines += [f"- {key.replace('_', ' ')}: {about[key]}" for key in ("ortus", "commit", "onnxruntime") if about.get(key)]
    lines += [f"- {key}: {machine[key]}" for key in ("gpu", "driver", "cpu", "cores", "kernel", "glibc", "python") if key in machine]
    lines += ["", "| step | state | seconds | |", "|---|---|---|---|"]
    for step in report["steps"]:
        note = step.get("error") or brief(step["name"], step.get("figures", {}))
        lines.append(f"| {step['name']} | {step['state']} | {step['seconds']:.1f} | {cell(note)} |")
    figures = {step["name"]: step.get("figures", {}) for step in report["steps"]}
    lines += share_table(figures.get("share") or {})
    lines += large_tables(figures.get("large") or {})
    return "\n".join(lines) + "\n"


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def brief(name, figures):
    """The figures of a step in one line."""
    if name == "refusal" and figures:
        return f"refused: {figures['reason']}"
    if name in ("golden", "large") and figures:
        return ", ".join(f"{model} {d['largest']:.1e} of {d['accepted']:.0e}" for model, d in figures["differences"].items())
    if name == "swap" and figures:
        return f"{figures['swaps']} swaps, {figures['requests']} requests, {figures['lost']} lost, p99 {figures['p99_us']:.0f} µs"
    if name == "reloads" and figures:
        slopes = ", ".join(f"{key.removesuffix('_mib')} {slope:+.3f}" for key, slope in figures["slope_per_reload"].items())
        first, last = figures["first"], figures["last"]
        memory = "gpu_mib" if last["gpu_mib"] is not None else "resident_mib"
        return f"{figures['reloads']} reloads; {memory}: {first[memory]:.0f} → {last[memory]:.0f}; MiB per reload: {slopes}"
    if name == "share" and figures:
        return ", ".join(f"{line['model']}×{line['batch']} {line['share']:.2f}" for line in figures["table"])
    return ""


def share_table(figures):
    if not figures.get("table"):
        return []
    lines = ["", "## Rows per second, and the share of ONNX Runtime alone", ""]
    lines += ["| model | batch | server | ONNX Runtime | share | change of the latter |", "|---|---|---|---|---|---|"]
    for line in figures["table"]:
        lines.append(
            f"| {line['model']} | {line['batch']} | {line['rows_per_s']:,.0f} | {line['raw_rows_per_s']:,.0f} "
            f"| {line['share']:.2f} | {line['raw_drift']:.0%} |"
        )
    merged = ", ".join(f"{model} {rate:,.0f}" for model, rate in figures["merged_single_rows_per_s"].items())
    return lines + ["", f"Requests of one row, merged into batches of up to 32, rows per second: {merged}."]


def rows(of):
    return of if isinstance(of, int) else f"{', '.join(map(str, of))} in turn"


def large_tables(figures):
    if not figures.get("served"):
        return []
    lines = ["", "## Large models: ONNX Runtime alone, rows per second", ""]
    lines += ["| model | sessions | rows of a run | rows/s |", "|---|---|---|---|"]
    for line in figures["raw"]:
        lines.append(f"| {line['model']} | {line['lanes']} | {rows(line['rows'])} | {line['rows_per_s']:,.0f} |")
    lines += ["", "## Large models: requests of one row, defaults but for `lanes` (0 is the default)", ""]
    lines += ["| model | lanes | in flight | rows/s | p99 ms | both ready s | GPU MiB | resident MiB |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for line in figures["served"]:
        gpu = "" if line["gpu_mib"] is None else f"{line['gpu_mib']:,.0f}"
        lines.append(
            f"| {line['model']} | {line['lanes']} | {line['in_flight']} | {line['rows_per_s']:,.0f} | {line['p99_us'] / 1000:.1f} "
            f"| {line['ready_s']:.1f} | {gpu} | {line['resident_mib']:,.0f} |"
        )
    return lines

#!/usr/bin/env python3
"""Draws a flame graph as one SVG without scripts: who was on a core, by process, caller below callee.

Reads what `perf script` prints. With a cluster on this machine, all of whose processes are then recorded:

    perf record -a -F 499 --call-graph dwarf,4096 -o put.data -- shoal put FILE /file --quiet
    perf script --no-inline -i put.data --show-task-events -F comm,pid,tid,time,event,ip,sym | scripts/flame.py "put" shoal > put.svg

The last arguments are the names of the processes to show, with whatever follows them: `shoal` stands for `shoal-peer`, too.
A frame narrower than 1/1000 of the whole is left out. Width is CPU time; the tooltip has the seconds.
"""

import html
import re
import sys

WIDTH, ROW, MIN_SHARE = 1600, 16, 0.001
TASK = re.compile(r"PERF_RECORD_COMM(?: exec)?: (\S+):(\d+)/(\d+)")
HEAD = re.compile(r"^(\S.*?)\s+(\d+)/(\d+)\s")
FRAME = re.compile(r"^\s+([0-9a-f]+) (.+?)(?:\+0x[0-9a-f]+)?$")
COLOURS = {"kernel": "#d9a441", "crypto": "#c8553d", "quinn": "#5b8e7d", "own": "#4f7cac", "other": "#b8b8aa"}


class Node:
    def __init__(self):
        self.count, self.children = 0, {}

    def add(self, frames):
        node = self
        node.count += 1
        for frame in frames:
            node = node.children.setdefault(frame, Node())
            node.count += 1


def shorten(symbol):
    symbol = re.sub(r"::\{\{?closure\}\}?|::\{closure#\d+\}|::h[0-9a-f]{16}|\{\{vtable\.shim\}\}", "", symbol)
    depth, kept = 0, []
    for letter in symbol.removeprefix("<").replace("->", "-"):
        depth += (letter == "<") - (letter == ">")
        kept.append(letter if depth <= 0 and letter != ">" else "")
    return "".join(kept)[:90] or symbol[:90]


def samples(lines, wanted):
    names, process, frames = {}, None, []
    for line in lines:
        if task := TASK.search(line):
            if task[2] == task[3]:
                names[task[2]] = task[1]
        elif frame := FRAME.match(line):
            frames.append(frame[2])
        elif head := HEAD.match(line):
            process, frames = names.get(head[2], ""), []
        elif not line.strip() and process is not None:
            if process.startswith(wanted) and frames:
                yield process, [shorten(f) for f in reversed(frames) if f != "[unknown]" and "(inlined)" not in f]
            process = None


def colour(name, depth):
    if depth <= 1:
        return "#8a8a80"
    if re.search(r"sha1|aes|gcm|blake3|ring_core|ghash", name):
        return COLOURS["crypto"]
    if name.startswith(("quinn", "rustls")):
        return COLOURS["quinn"]
    if name.startswith(("client::", "peer::", "directory::", "common::")):
        return COLOURS["own"]
    if "::" not in name and re.match(r"_*(x64_)?(sys_|do_|entry_|asm_|udp|ip|ext4|sk[b_]|__|vfs|ksys|handle_|exc_)", name):
        return COLOURS["kernel"]
    return COLOURS["other"]


def draw(root, title, hertz):
    rects, deepest = [], 0

    def place(node, name, left, depth):
        nonlocal deepest
        share = node.count / root.count
        if share < MIN_SHARE:
            return
        deepest = max(deepest, depth)
        x, width = left * WIDTH, share * WIDTH
        text = html.escape(name[: max(0, int(width / 6.5))]) if width > 30 else ""
        tip = f"{html.escape(name)}: {node.count / hertz:.2f} s, {share:.1%}"
        rects.append((depth, x, width, colour(name, depth), text, tip))
        for child, below in sorted(node.children.items(), key=lambda item: -item[1].count):
            place(below, child, left, depth + 1)
            left += below.count / root.count

    place(root, title, 0, 0)
    height = (deepest + 1) * ROW + 4
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">'
    for depth, x, width, fill, text, tip in rects:
        y = height - (depth + 1) * ROW
        yield f'<g><title>{tip}</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.3, 0.2):.1f}" height="{ROW - 1}" fill="{fill}"/>'
        yield (f'<text x="{x + 3:.1f}" y="{y + 11}">{text}</text></g>' if text else "</g>")
    yield "</svg>"


def main():
    title, *wanted = sys.argv[1:] or ["", "shoal"]
    root = Node()
    for process, frames in samples(sys.stdin, tuple(wanted)):
        root.add([process, *frames])
    if root.count == 0:
        sys.exit("no samples of these processes: were they started while perf recorded?")
    print("\n".join(draw(root, f"{title}: {root.count / 499:.2f} CPU s", 499)))


main()

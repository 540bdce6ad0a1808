"""A pipeline that decodes, for the scripts here: programs side by side, the sampled token comes back through a FIFO."""
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT + "/tests")
import frame            # noqa: E402
import numpy as np      # noqa: E402


class Line:
    def __init__(self, model, threads, folder, layers=(("ds-block",),), embed=()):
        """layers: the programs between embedding and head, with their options; embed: options of
        ds-embed; folder: for the FIFO."""
        loop = folder + "/loop"
        os.mkfifo(loop)
        t = ["-t", str(threads)]
        lines = [["ds-embed", "-i", "-", "-i", loop, *embed],
                 *([*words, *t] for words in layers), ["ds-head", *t],
                 ["ds-sample", "-g", "-o", loop, "-o", "-"]]
        self.programs = []
        self.loop = loop
        last = subprocess.PIPE
        for name, *rest in lines:
            p = subprocess.Popen([f"{ROOT}/bin/{name}", "-m", model, *rest], stdin=last, stdout=subprocess.PIPE)
            if self.programs:
                last.close()
            self.programs.append(p)
            last = p.stdout
        self.frames = frame.read_frames(last)
        self.seq = 0

    def run(self, n, new):
        """A prompt of n rows: (its rows per second, the tokens per second after its first).

        No token ends it early: random weights sample an eos as well as any other."""
        self.seq += 1
        ids = np.array([(7 * j + self.seq) % 1000 + 3 for j in range(n)], "<i4")
        start = time.monotonic()
        to = self.programs[0].stdin
        asks = {"max_new": new, "greedy": True, "stop": []}
        frame.write_frame(to, {"at": "embed", "spans": [[self.seq, 0, n, 1]],
                               "seqs": {self.seq: asks}}, {"ids": ids})
        to.flush()
        came = []
        while len(came) < new:
            f = next(self.frames)
            if f.header.get("op") == "error":
                sys.exit(f.header["text"])
            if "op" not in f.header:
                came.append(time.monotonic())
        return n / (came[0] - start), (new - 1) / (came[-1] - came[0]) if new > 1 else 0

    def memory(self):
        """Bytes that the programs hold, pages that several map shared out among them."""
        total = 0
        for p in self.programs:
            with open(f"/proc/{p.pid}/smaps_rollup", encoding="utf-8") as f:
                total += next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
        return total

    def end(self):
        frame.write_frame(self.programs[0].stdin, {"op": "end"})
        self.programs[0].stdin.close()
        for _ in self.frames:
            pass
        if any([p.wait() for p in self.programs]):
            sys.exit("a program failed")
        os.unlink(self.loop)

"""Vectors, their exact neighbours and the peers (hnswlib, usearch) for `cargo xtask bench memory`.

Reads commands, one JSON object a line, and answers each with one: {"prepare": FOLDER, "count": N},
{"open": ENGINE}, {"search": ENGINE, "wide": EF}. A search is single-threaded, one query at a time.
"""

import json
import os
import resource
import sys
import time

import numpy as np

DIMENSIONS, QUERIES, K = 384, 2000, 10
SEED = 7


def mixture(count, queries, seed):
    """Unit vectors around a few thousand centres: themselves in groups, of unlike size and spread, and of fewer
    dimensions than the space, as embeddings of texts are."""
    random = np.random.default_rng(seed)

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    themes = unit(normal(96, DIMENSIONS))
    centres = 4000
    centre = unit(themes[random.integers(0, len(themes), centres)] + 0.9 * unit(normal(centres, DIMENSIONS)))
    weight = random.lognormal(0.0, 1.0, centres)
    spread = random.uniform(0.35, 1.1, centres).astype(np.float32)
    decay = np.arange(1, DIMENSIONS + 1, dtype=np.float32) ** -0.45
    decay /= np.linalg.norm(decay)
    order = np.stack([random.permutation(DIMENSIONS) for _ in range(64)])
    rows = np.empty((count + queries, DIMENSIONS), np.float32)
    for start in range(0, len(rows), 50_000):
        block = rows[start : start + 50_000]
        which = random.choice(centres, len(block), p=weight / weight.sum())
        noise = np.take_along_axis(normal(len(block), DIMENSIONS) * decay, order[which % len(order)], axis=1)
        block[:] = unit(centre[which] + spread[which, None] * noise)
    return rows[:count], rows[count:]


def exact(base, queries, k):
    """The `k` nearest by inner product, from blocks of the base."""
    best, found = np.full((len(queries), k), -2.0, np.float32), np.zeros((len(queries), k), np.int64)
    for start in range(0, len(base), 100_000):
        scores = queries @ base[start : start + 100_000].T
        nearest = np.argpartition(-scores, k, axis=1)[:, :k]
        scores = np.concatenate([best, np.take_along_axis(scores, nearest, axis=1)], axis=1)
        nearest = np.concatenate([found, nearest + start], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(nearest, order, axis=1)
    return found


class Hnswlib:
    def __init__(self, folder, count):
        self.path, self.count = os.path.join(folder, "hnswlib.bin"), count

    def build(self, base):
        import hnswlib

        index = hnswlib.Index("ip", DIMENSIONS)
        index.init_index(self.count, ef_construction=200, M=16, random_seed=1)
        index.add_items(base)
        index.save_index(self.path)

    def open(self):
        import hnswlib

        self.index = hnswlib.Index("ip", DIMENSIONS)
        self.index.load_index(self.path, max_elements=self.count)
        self.index.set_num_threads(1)

    def set_wide(self, wide):
        self.index.set_ef(wide)

    def search(self, query):
        return self.index.knn_query(query, k=K, num_threads=1)[0][0]


class Usearch:
    def __init__(self, folder, count):
        self.path = os.path.join(folder, "usearch.bin")

    def build(self, base):
        from usearch.index import Index

        index = Index(ndim=DIMENSIONS, metric="ip", dtype="i8", connectivity=16, expansion_add=200)
        index.add(np.arange(len(base)), base)
        index.save(self.path)

    def open(self):
        from usearch.index import Index

        self.index = Index.restore(self.path, view=True)

    def set_wide(self, wide):
        self.index.expansion_search = wide

    def search(self, query):
        return self.index.search(query, K, threads=1).keys


class Bench:
    def prepare(self, folder, count):
        """Makes what is missing; gives the seconds that the peers' building took."""
        os.makedirs(folder, exist_ok=True)
        base_path, query_path = os.path.join(folder, "base.f32"), os.path.join(folder, "queries.f32")
        truth_path = os.path.join(folder, "truth.u32")
        if not os.path.exists(truth_path):
            base, queries = mixture(count, QUERIES, SEED)
            base.tofile(base_path)
            queries.tofile(query_path)
            exact(base, queries, 100).astype(np.uint32).tofile(truth_path)
        self.queries = np.fromfile(query_path, np.float32).reshape(-1, DIMENSIONS)
        self.truth = np.fromfile(truth_path, np.uint32).reshape(-1, 100)[:, :K]
        self.engines = {"hnswlib": Hnswlib(folder, count), "usearch": Usearch(folder, count)}
        seconds_path = os.path.join(folder, "peers.json")
        seconds = json.load(open(seconds_path)) if os.path.exists(seconds_path) else {}
        for name, engine in self.engines.items():
            if not os.path.exists(engine.path):
                base = np.fromfile(base_path, np.float32).reshape(-1, DIMENSIONS)
                start = time.perf_counter()
                engine.build(base)
                seconds[name] = time.perf_counter() - start
                json.dump(seconds, open(seconds_path, "w"))
        return {"build": seconds, "bytes": {name: os.path.getsize(engine.path) for name, engine in self.engines.items()}}

    def open(self, name):
        before, start = self.resident(), time.perf_counter()
        self.engines[name].open()
        return {"seconds": time.perf_counter() - start, "resident": self.resident() - before}

    def search(self, name, wide):
        engine = self.engines[name]
        engine.set_wide(wide)
        times, hits = [], 0
        for query, truth in zip(self.queries, self.truth):
            start = time.perf_counter()
            found = engine.search(query)
            times.append(time.perf_counter() - start)
            hits += len(set(found.tolist()) & set(truth.tolist()))
        times.sort()
        return {
            "recall": hits / self.truth.size,
            "per_second": len(times) / sum(times),
            "p99": times[len(times) * 99 // 100],
        }

    @staticmethod
    def resident():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    bench = Bench()
    for line in sys.stdin:
        command = json.loads(line)
        if "prepare" in command:
            answer = bench.prepare(command["prepare"], command["count"])
        elif "open" in command:
            answer = bench.open(command["open"])
        else:
            answer = bench.search(command["search"], command["wide"])
        print(json.dumps(answer), flush=True)


main()

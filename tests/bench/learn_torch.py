"""learn_torch.py MODEL RECORDS THREADS STEPS GROUP: tokens a second of training steps in PyTorch.

Prints the median of the steps after the first.  A record's ids are padded to the longest of its
group of GROUP records of similar length (0: of all).
"""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, 1e-6)


def linear(i, o):
    return nn.Linear(i, o, bias=False)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        D, d, inner = c["hidden_size"], c["head_dim"], c["intermediate_size"]
        self.H, self.G, self.d = c["num_attention_heads"], c["num_key_value_heads"], d
        self.norm, self.mlp_norm, self.q_norm, self.k_norm = Norm(D), Norm(D), Norm(d), Norm(d)
        self.q, self.k, self.v = linear(D, self.H * d), linear(D, self.G * d), linear(D, self.G * d)
        self.o, self.gate, self.up = linear(self.H * d, D), linear(D, inner), linear(D, inner)
        self.down = linear(inner, D)

    def rotate(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        y = self.norm(x)
        q = self.q_norm(self.q(y).view(B, T, self.H, self.d)).transpose(1, 2)
        k = self.k_norm(self.k(y).view(B, T, self.G, self.d)).transpose(1, 2)
        v = self.v(y).view(B, T, self.G, self.d).transpose(1, 2)
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(B, T, -1))
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Qwen3(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"])
        d = c["head_dim"]
        f = c["rope_theta"] ** -(torch.arange(0, d, 2) / d)
        a = torch.arange(c["max_position_embeddings"])[:, None] * f
        self.cos, self.sin = a.cos(), a.sin()

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos[:ids.shape[1]], self.sin[:ids.shape[1]])
        return F.linear(self.norm(x), self.embed.weight)


def tiny(config):
    sys.dont_write_bytecode = True
    sys.path.insert(0, config["folder"] + "/train")
    from model import Model
    model = Model().eval()      # (not train(): that adds a loss for the balance of experts)
    del model.model.layers[-1]  # the layer that predicts two tokens ahead
    model.model.layers.append(nn.Identity())
    return model


def main(folder, records, threads, steps, group):
    torch.set_num_threads(int(threads))
    with open(folder + "/config.json", encoding="utf-8") as f:
        config = {**json.load(f), "folder": folder}
    model = Qwen3(config) if config["model_type"] == "qwen3" else tiny(config)
    adam = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4,
                             weight_decay=0)
    with open(records, encoding="utf-8") as f:
        lines = sorted((json.loads(line) for line in f), key=lambda r: len(r["ids"]))
    size = int(group) or len(lines)
    batches = []
    for i in range(0, len(lines), size):
        part = lines[i:i + size]
        longest = max(len(r["ids"]) for r in part)
        ids, weights = (torch.tensor([r[key] + [0] * (longest - len(r[key])) for r in part])
                        for key in ("ids", "weights"))
        batches.append((ids, weights[:, 1:].float()))
    total = sum(w.sum() for _, w in batches)
    speeds = []
    for _ in range(int(steps)):
        began = time.monotonic()
        adam.zero_grad()
        for ids, weights in batches:
            logits = model(ids[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            ((loss * weights.flatten()).sum() / total).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        speeds.append(sum(len(r["ids"]) for r in lines) / (time.monotonic() - began))
    print(statistics.median(speeds[1:]))


main(*sys.argv[1:])

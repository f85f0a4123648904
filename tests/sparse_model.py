#!/usr/bin/env python3
"""Writes a published Qwen3-MoE folder whose weights are holes in files.

    tests/sparse_model.py CONFIG OUT [--shard-gb 4]

CONFIG is a config.json. The shards have true headers and an index; their data
takes no room on disk and reads as zeros: for tests of loading at full size.
"""
import argparse
import json
import math
import os
import shutil


def tensors(config):
    """(name, shape) of all weights, as the field publishes them."""
    D, V = config['hidden_size'], config['vocab_size']
    H, G = config['num_attention_heads'], config['num_key_value_heads']
    C = config.get('head_dim', D // H)
    F, E = config['moe_intermediate_size'], config['num_experts']
    yield 'model.embed_tokens.weight', (V, D)
    for layer in range(config['num_hidden_layers']):
        at = f'model.layers.{layer}.'
        yield at + 'input_layernorm.weight', (D,)
        yield at + 'post_attention_layernorm.weight', (D,)
        yield at + 'self_attn.q_norm.weight', (C,)
        yield at + 'self_attn.k_norm.weight', (C,)
        yield at + 'self_attn.q_proj.weight', (H * C, D)
        yield at + 'self_attn.k_proj.weight', (G * C, D)
        yield at + 'self_attn.v_proj.weight', (G * C, D)
        yield at + 'self_attn.o_proj.weight', (D, H * C)
        yield at + 'mlp.gate.weight', (E, D)
        for expert in range(E):
            of = f'{at}mlp.experts.{expert}.'
            yield of + 'gate_proj.weight', (F, D)
            yield of + 'up_proj.weight', (F, D)
            yield of + 'down_proj.weight', (D, F)
    yield 'model.norm.weight', (D,)
    if not config.get('tie_word_embeddings', False):
        yield 'lm_head.weight', (V, D)


def cut(all_tensors, limit):
    """Lists of at most `limit` bytes, each with at least one tensor."""
    shards, size = [[]], 0
    for name, shape in all_tensors:
        num_bytes = 2 * math.prod(shape)
        if shards[-1] and size + num_bytes > limit:
            shards.append([])
            size = 0
        shards[-1].append((name, shape, num_bytes))
        size += num_bytes
    return shards


def write_shard(path, tensors_of_it):
    header, offset = {}, 0
    for name, shape, num_bytes in tensors_of_it:
        header[name] = {'dtype': 'BF16', 'shape': list(shape),
                        'data_offsets': [offset, offset + num_bytes]}
        offset += num_bytes
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(len(text).to_bytes(8, 'little'))
        file.write(text)
        file.truncate(8 + len(text) + offset)
    return offset


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('out')
    parser.add_argument('--shard-gb', type=float, default=4)
    arguments = parser.parse_args()
    with open(arguments.config) as file:
        config = json.load(file)
    os.makedirs(arguments.out, exist_ok=True)
    shutil.copy(arguments.config, os.path.join(arguments.out, 'config.json'))
    shards = cut(tensors(config), arguments.shard_gb * 1e9)
    weight_map, total = {}, 0
    for i, shard in enumerate(shards, 1):
        name = f'model-{i:05}-of-{len(shards):05}.safetensors'
        total += write_shard(os.path.join(arguments.out, name), shard)
        weight_map.update({tensor[0]: name for tensor in shard})
    with open(os.path.join(arguments.out, 'model.safetensors.index.json'),
              'w') as file:
        json.dump({'metadata': {'total_size': total},
                   'weight_map': weight_map}, file)
    print(f'{arguments.out}: {len(weight_map)} tensors, {total} bytes, '
          f'{len(shards)} shards')


if __name__ == '__main__':
    main()

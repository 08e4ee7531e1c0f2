"""AttnLRP through timm's ViT, transcribed rule by rule in relevances, and the generalised gamma rule as loops."""

import math

import torch


class Relevance:
    """Propagates relevance, and adds up what biases, constants and softmax absorb."""

    def __init__(self):
        self.absorbed = 0.0

    def conserve(self, before, *after):
        """Note what got lost of every image's relevance at a layer."""
        lost = before.flatten(1).sum(1) - sum(part.flatten(1).sum(1) for part in after)
        self.absorbed = self.absorbed + lost
        return after if len(after) > 1 else after[0]

    def linear(self, a, weight, bias, r):
        """R_i = Σ_j a_i W_ji / z_j R_j."""
        z = torch.einsum("...i,ji->...j", a, weight) + bias
        return self.conserve(r, torch.einsum("...i,ji,...j->...i", a, weight, r / z))

    def product(self, factor, right, r):
        """R_ji = Σ_p A_ji V_ip R_jp / (2 O_jp), and likewise for V."""
        share = r / (2 * (factor @ right))
        to_left = torch.einsum("...ji,...ip,...jp->...ji", factor, right, share)
        to_right = torch.einsum("...ji,...ip,...jp->...ip", factor, right, share)
        return self.conserve(r, to_left, to_right)

    def softmax(self, x, s, r):
        """R_i = x_i (R_i − s_i Σ_j R_j)."""
        return self.conserve(r, x * (r - s * r.sum(-1, keepdim=True)))

    def layer_norm(self, x, norm, r):
        """x − mean by a matrix, divided by the held deviation, times w; the bias absorbs its share."""
        size = x.shape[-1]
        centre = torch.eye(size, dtype=x.dtype) - 1 / size
        std = torch.sqrt(x.var(-1, correction=0, keepdim=True) + norm.eps)
        contributions = centre * x[..., None, :] / std[..., None] * norm.weight[:, None]  # [..., j, i]
        y = contributions.sum(-1) + norm.bias
        return self.conserve(r, (contributions / y[..., None] * r[..., None]).sum(-2))

    def sum(self, factor, right, r):
        """In proportion to the summands."""
        return self.conserve(r, factor / (factor + right) * r, right / (factor + right) * r)


def attention_parts(attn, x):
    images, tokens, _ = x.shape
    qkv = x @ attn.qkv.weight.T + attn.qkv.bias
    q, k, v = qkv.reshape(images, tokens, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    return qkv, q, k, v, scores, scores.softmax(-1)


def vit_relevance(body, z, target):
    """Relevance of normalised images ``[B, C, H, W]``, and what was absorbed on the way, ``[B]``."""
    rules, size = Relevance(), body.patch_embed.patch_size[0]
    images, channels, height, width = z.shape
    grid = (height // size, width // size)
    pixels = (
        z.unflatten(3, (grid[1], size)).unflatten(2, (grid[0], size)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    )
    kernel, offset = body.patch_embed.proj.weight.flatten(1), body.patch_embed.proj.bias
    patches = pixels @ kernel.T + offset
    tokens = torch.cat([body.cls_token.expand(images, -1, -1), patches], 1)
    streams = [tokens + body.pos_embed]
    for block in body.blocks:
        x = streams[-1]
        *_, v, _, s = attention_parts(block.attn, block.norm1(x))
        mixed = (s @ v).transpose(1, 2).flatten(2)
        streams.append(x + block.attn.proj(mixed))
        streams.append(streams[-1] + block.mlp(block.norm2(streams[-1])))
    final = body.norm(streams[-1])
    logits = body.head(final[:, 0])
    r = torch.zeros_like(logits).scatter(1, target[:, None], logits.gather(1, target[:, None]))
    rules.absorbed = torch.zeros(images, dtype=z.dtype)
    r_class = rules.linear(final[:, 0], body.head.weight, body.head.bias, r)
    r = torch.zeros_like(final)
    r[:, 0] = r_class
    r = rules.layer_norm(streams[-1], body.norm, r)
    for number in reversed(range(len(body.blocks))):
        block, x, middle = body.blocks[number], streams[2 * number], streams[2 * number + 1]
        normed = block.norm2(middle)
        hidden = block.mlp.fc1(normed)
        bent = block.mlp.act(hidden)
        r_stream, r_mlp = rules.sum(middle, block.mlp.fc2(bent), r)
        r_mlp = rules.linear(bent, block.mlp.fc2.weight, block.mlp.fc2.bias, r_mlp)  # GELU passes R on
        r_mlp = rules.linear(normed, block.mlp.fc1.weight, block.mlp.fc1.bias, r_mlp)
        r = r_stream + rules.layer_norm(middle, block.norm2, r_mlp)
        normed = block.norm1(x)
        _, q, k, v, scores, s = attention_parts(block.attn, normed)
        mixed = (s @ v).transpose(1, 2).flatten(2)
        r_stream, r_attn = rules.sum(x, block.attn.proj(mixed), r)
        r_mixed = rules.linear(mixed, block.attn.proj.weight, block.attn.proj.bias, r_attn)
        r_mixed = r_mixed.unflatten(2, (block.attn.num_heads, -1)).transpose(1, 2)
        r_s, r_v = rules.product(s, v, r_mixed)
        r_scores = rules.softmax(scores, s, r_s)
        r_q, r_k = rules.product(q / math.sqrt(q.shape[-1]), k.transpose(-2, -1), r_scores)
        r_qkv = torch.stack([r_q, r_k.transpose(-2, -1), r_v]).permute(1, 3, 0, 2, 4).flatten(2)
        r = r_stream + rules.layer_norm(
            x, block.norm1, rules.linear(normed, block.attn.qkv.weight, block.attn.qkv.bias, r_qkv)
        )
    r_tokens = rules.conserve(r, tokens / streams[0] * r)  # the positions absorb their share
    r_patches = rules.conserve(r_tokens, r_tokens[:, 1:])  # and so does the class token
    r_pixels = rules.linear(pixels, kernel, offset, r_patches)
    relevance = r_pixels.reshape(images, *grid, channels, size, size).permute(0, 3, 1, 4, 2, 5).reshape(z.shape)
    return relevance, rules.absorbed


def gamma_linear(a, weight, bias, r, gamma):
    """The generalised gamma rule of one layer and one image, contribution by contribution."""
    outputs, inputs = weight.shape
    relevance = torch.zeros(inputs, dtype=a.dtype)
    for j in range(outputs):
        z = sum(float(a[i] * weight[j, i]) for i in range(inputs)) + float(bias[j])
        shares = [float(a[i] * weight[j, i]) for i in range(inputs)] + [float(bias[j])]
        raised = [share * (1 + gamma) if share * z > 0 else share for share in shares]
        for i in range(inputs):
            relevance[i] += raised[i] / sum(raised) * r[j]
    return relevance

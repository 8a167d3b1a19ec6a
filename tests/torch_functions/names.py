# SPDX-License-Identifier: BSD-3-Clause
"""What torch.nn.functional offers to a convolutional network, by the file of this folder that compares it.

What cnnkern has beyond it stands in OWN of those files, with its counterpart in PyTorch.
"""

_BY_FAMILY = {
    "conv": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "pool": (
        "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d "
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
        "adaptive_max_pool3d lp_pool1d lp_pool2d lp_pool3d fractional_max_pool2d fractional_max_pool3d"
    ),
    "activation": (
        "relu relu6 leaky_relu hardtanh hardswish hardsigmoid elu selu celu gelu silu mish softplus softsign "
        "logsigmoid tanhshrink hardshrink softshrink threshold prelu rrelu glu sigmoid tanh softmax softmin "
        "log_softmax gumbel_softmax"
    ),
    "dropout": "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
    "norm": "batch_norm group_norm instance_norm layer_norm local_response_norm rms_norm normalize",
    "vision": (
        "pad interpolate upsample upsample_nearest upsample_bilinear pixel_shuffle pixel_unshuffle channel_shuffle "
        "unfold fold affine_grid grid_sample"
    ),
    "dense": "linear bilinear",
    "distance": "pairwise_distance cosine_similarity pdist",
    "loss": (
        "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy gaussian_nll_loss huber_loss kl_div "
        "l1_loss mse_loss nll_loss one_hot poisson_nll_loss smooth_l1_loss"
    ),
    "margin": (
        "cosine_embedding_loss hinge_embedding_loss margin_ranking_loss multi_margin_loss multilabel_margin_loss "
        "multilabel_soft_margin_loss soft_margin_loss triplet_margin_loss triplet_margin_with_distance_loss"
    ),
}
FUNCTIONS: dict[str, str] = {name: family for family, names in _BY_FAMILY.items() for name in names.split()}

LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(("embedding", "embedding_bag"), "looks up words"),
    **dict.fromkeys(("multi_head_attention_forward", "scaled_dot_product_attention"), "belongs to transformers"),
    **dict.fromkeys(("ctc_loss", "conv_tbc"), "belongs to sequences"),
    **dict.fromkeys(("grouped_mm", "scaled_mm", "scaled_grouped_mm", "linear_cross_entropy"), "for language models"),
    **dict.fromkeys(
        [f"{kind}_max_pool{rank}d_with_indices" for kind in ("adaptive", "fractional") for rank in (1, 2, 3)],
        "return_indices=True does it",
    ),
    **dict.fromkeys([f"max_pool{rank}d_with_indices" for rank in (1, 2, 3)], "return_indices=True does it"),
    "native_channel_shuffle": "channel_shuffle does it",
    **dict.fromkeys(
        (
            *("assert_int_or_pair", "boolean_dispatch", "handle_torch_function"),
            *("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"),
        ),
        "a helper of PyTorch's own code",
    ),
}

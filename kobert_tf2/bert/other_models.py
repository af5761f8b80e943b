"""Configurations that are named BERT, or resemble one, but define a different function.

The keys are those of `BertConfig` in `transformers` 4 and 5, of Google's files, and of relatives of BERT whose
configuration has all the sizes that a BERT's has. A key that changes the function raises an `InputError` that names it;
an unknown key is reported, so that none is ignored silently.
"""

import re
import sys
from collections.abc import Iterable

from kobert_tf2.errors import InputError
from kobert_tf2.outputs import SIGN

# The required value of a key, if it is present and not null.
_MUST_BE: dict[str, tuple] = {
    "model_type": ("bert",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({}, []),
    "quantization_config": ({},),
    "directionality": ("bidi",),
    "pooler_type": ("first_token_transform",),
    "embeddings_type": ("full",),
    "feed_forward_type": ("original",),  # gated feed-forward networks under the model type "bert"
    "share_parameter_across_layers": (False,),
    "num_hidden_groups": (),  # ALBERT
    "inner_group_num": (),
    "head_ratio": (),  # ConvBERT
    "conv_kernel_size": (),
    "num_groups": (1,),
    "attention_window": (),  # Longformer
    "attention_type": ("original_full",),  # BigBird, Funnel
    "relative_attention": (False,),  # DeBERTa
    "use_relative_position": (False,),
    "use_relative_positions": (False,),
    "max_relative_position": (),  # NEZHA
    "rotary_value": (),  # RoFormer
    "rotary_emb_fraction": (0,),
    "rope_theta": (),
    "rope_scaling": (),
    "sinusoidal_pos_embds": (),  # DistilBERT
    "use_bottleneck": (False,),  # MobileBERT
    "intra_bottleneck_size": (),
    "trigram_input": (False,),
    "normalization_type": ("layer_norm",),
    "q_groups": (1,),  # SqueezeBERT
    "use_task_id": (False,),  # ERNIE
    "relax_projection": (0,),  # UniLM
    "emb_layer_norm_before": (False,),  # ESM
    "prenorm": (False,),
    "pre_norm": (False,),
    "norm_first": (False,),
    "normalize_before": (False,),
    "num_experts": (0, 1),
}

# Keys of `transformers` and of Google's files that do not affect the forward pass: how a model is trained, stored, fed
# and used, and keys that were never used.
_HARMLESS = frozenset(
    """
    architectures architecture auto_map transformers_version torch_dtype dtype name_or_path _name_or_path _commit_hash
    _attn_implementation attn_implementation _attn_implementation_autoset _num_labels num_labels id2label label2id
    problem_type classifier_dropout finetuning_task task_specific_params tokenizer_class prefix position_embedding_type
    embedding_size num_key_value_heads head_dim attention_head_size output_attentions output_hidden_states output_past
    output_scores return_dict return_dict_in_generate use_cache use_return_dict torchscript use_bfloat16
    gradient_checkpointing chunk_size_feed_forward tie_encoder_decoder cross_attention_hidden_size tf_legacy_loss
    bos_token_id eos_token_id sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
    forced_bos_token_id forced_eos_token_id suppress_tokens begin_suppress_tokens bad_words_ids remove_invalid_values
    max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups num_return_sequences
    diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size exponential_decay_length_penalty pooler_fc_size pooler_num_attention_heads
    pooler_num_fc_layers pooler_size_per_head layer_norm_eps pad_token_id tie_word_embeddings kobert_tf2
    """.split()
)
# Class names by which a configuration without "model_type" may name another model.
_CLASS = re.compile(r"(TF|Flax)?([A-Za-z0-9]+?)(Model|LMHeadModel|For[A-Z][A-Za-z]*|Encoder|Decoder)")


def refuse(values: dict) -> None:
    """Raises `InputError`, with the key and its value, for a configuration of another function."""
    for key, allowed in _MUST_BE.items():
        value = values.get(key)
        if value is not None and not any(value == other for other in allowed):
            expected = f"only {' or '.join(map(repr, allowed))} is" if allowed else "no model with this key is"
            raise InputError(f"{key} {value!r} makes another model than the BERT that is computed here ({expected})")
    # transformers 4 omits the positions if this is null.
    if values.get("position_embedding_type", "absolute") != "absolute":
        kind = values["position_embedding_type"]
        raise InputError(f"position_embedding_type {kind!r} makes another model than BERT (only 'absolute' is read)")
    _refuse_other_widths(values)
    _refuse_other_code(values)


def _refuse_other_widths(values: dict) -> None:
    """Widths that BERT derives from others, and that its relatives set independently."""
    heads, hidden = values.get("num_attention_heads"), values.get("hidden_size")
    width = hidden // heads if isinstance(hidden, int) and isinstance(heads, int) and heads > 0 else None
    derived = {
        "embedding_size": hidden,
        "num_key_value_heads": heads,
        "head_dim": width,
        "attention_head_size": width,
    }
    for key, expected in derived.items():
        if values.get(key) is not None and values[key] != expected:
            raise InputError(f"{key} {values[key]!r} makes another model than BERT, where it is {expected}")


def _refuse_other_code(values: dict) -> None:
    """A model that is defined by its own Python file, or by the class of another model."""
    custom = values.get("auto_map")
    if isinstance(custom, dict) and any(str(key).startswith("AutoModel") for key in custom):
        raise InputError(f"auto_map {custom!r} says that the model is computed by code of its own, not as a BERT")
    if values.get("model_type") is None:
        named = values.get("architectures")
        for name in named if isinstance(named, list) else []:
            known = _CLASS.fullmatch(str(name))
            if known and known[2] != "Bert":
                raise InputError(f"architectures {name!r} is another model than BERT")


def report_unknown_keys(values: dict, known: Iterable[str], path: str) -> None:
    """Reports, once per process, keys that are neither BERT's nor known to be harmless and that are set to a true
    value.
    """
    unknown = [key for key, value in values.items() if value and key not in {SIGN, *known, *_HARMLESS, *_MUST_BE}]
    if unknown and (path, *unknown) not in _reported:
        _reported.add((path, *unknown))
        print(f"{path}: not used, because BERT has no such keys: {', '.join(unknown)}", file=sys.stderr)


_reported: set[tuple[str, ...]] = set()

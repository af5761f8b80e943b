"""Compiles a list of words into a Mecab user dictionary, for --user_dictionary of the other tools.

    python tools/build_user_dictionary.py --input_file=words.csv --output_file=user.dic

A line of the list is `word`, `word,tag`, `word,tag,cost` or `word,tag,cost,parts`; the tag is NNP (a name) where
none is given.
"""

from absl import flags

from kobert_tf2 import command_line
from kobert_tf2.tokenization import user_dictionary

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "The list of words: UTF-8, one word per line.", required=True)
flags.DEFINE_string("output_file", None, "The user dictionary to write.", required=True)
flags.DEFINE_string("dictionary", None, "Folder of the mecab-ko dictionary. Not given: the installed one.")
flags.DEFINE_bool("do_lower_case", False, "The dictionary is for a tokenizer with --do_lower_case.")
flags.DEFINE_bool("strip_accents", False, "The dictionary is for a tokenizer with --strip_accents.")
flags.DEFINE_bool("overwrite", False, "Replace an existing user dictionary.")


def main() -> dict:
    words = user_dictionary.compile_user_dictionary(
        FLAGS.input_file,
        FLAGS.output_file,
        dictionary=FLAGS.dictionary,
        do_lower_case=FLAGS.do_lower_case,
        strip_accents=FLAGS.strip_accents,
        overwrite=FLAGS.overwrite,
    )
    return {"words": words, "output_file": FLAGS.output_file}


def ending(result: dict) -> command_line.Ending:
    return command_line.Ending({"user dictionary": FLAGS.output_file})


if __name__ == "__main__":
    command_line.run(main, ending)

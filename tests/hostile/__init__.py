"""Broken and odd input of every kind, made from a seed, which the command must meet with one line or a sound result.

Every sample is harmless: a file cut short, a value of the wrong type, a size a little above what fits, a few links, a
sentinel file that must not appear. What is fed to decoders is cut short, empty, or of another format than its name
says; nothing is shaken at random.

    pytest -m hostile tests/hostile                       150 samples, one process, 20 of them through a shell
    pytest -m hostile tests/hostile --hostile 1500        more, from the same generator

`kinds/` make the samples, `world` makes what they break, `harness` runs them and judges the end.
"""

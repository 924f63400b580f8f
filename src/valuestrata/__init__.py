"""When a language model is told who it is, does it answer as such people do?"""

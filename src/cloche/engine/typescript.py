"""stub"""
class TypeScriptError(Exception): pass
def strip_types(source: str, filename: str) -> str: return source

from gate_support import *
from cloche.gate.journal import load_journal, verify
from cloche.gate.gate import *
def test_x():
    f=small_file(); print(len(f)); 
    j=load_journal(f,make_limits()); print(verify(f,make_limits()))
    g=Gate(TOOLS,make_limits(),replay=j); g.started(j.inputs)
    assert call(g,"add",[1,2]).value==3
    assert call(g, "fs.read", {"path": "/x"}).value=={"text": "é", "size": 1.0}
    assert call(g,"rm",{}).error.code=="POLICY_DENIED"
    assert g.finish(make_outcome())==j.hash
    assert encode_file(g.take_entries())==f

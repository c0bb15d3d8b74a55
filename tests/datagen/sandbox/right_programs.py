"""Programs that are right, with tests that share objects with them in every way that tests do: name -> (program, tests)."""

from __future__ import annotations

RIGHT: dict[str, tuple[str, str]] = {
    "kwargs defaults": (
        """
def f(a, b=2, *c, d=4, **e): return (a,b,c,d,e)
""",
        """
assert f(1)==(1,2,(),4,{})
assert f(1,3,5,d=6,z=7)==(1,3,(5,),6,{'z':7})
import inspect
assert str(inspect.signature(f))=='(a, b=2, *c, d=4, **e)'
assert f.__name__=='f'
""",
    ),
    "big data": (
        """
def f(x): return x
""",
        """
xs=list(range(100000))
assert f(xs) is xs
assert f(10**5000)==10**5000
assert f(float('inf'))==float('inf')
assert f('\\ud800')=='\\ud800'
assert f(b'\\xff')==b'\\xff'
assert f(1+2j)==1+2j
assert f(...) is ... and f(None) is None and f(NotImplemented) is NotImplemented
""",
    ),
    "types": (
        """
import decimal,fractions,datetime,uuid,pathlib,collections
def f(x): return (type(x).__name__, x)
""",
        """
import decimal,fractions,datetime,uuid,pathlib,collections,re,array,time
for v in [decimal.Decimal('1.50'), fractions.Fraction(1,3), datetime.date(2020,1,2), datetime.datetime(2020,1,2,3,4,5,6,datetime.timezone.utc), datetime.timedelta(1,2,3), uuid.UUID(int=5), pathlib.Path('a/b'), collections.deque([1,2],3), collections.Counter('aab'), collections.OrderedDict(a=1), collections.defaultdict(list,{1:[2]}), range(3), slice(1,2), frozenset({1}), {1,2}, bytearray(b'x'), (1,(2,)), True, 1.5, re.compile('a+')]:
    name, w = f(v)
    assert name == type(v).__name__, name
    assert type(w) is type(v) and w == v
""",
    ),
    "cycle": (
        """
def f(x): x.append(x); return x
""",
        """
a=[]
b=f(a)
assert b is a and a[0] is a
""",
    ),
    "mutation nested": (
        """
def f(d): d['x'].append(1); d['y']={'z':[]}; d['w'].add(3)
""",
        """
d={'x':[], 'w':set()}
x=d['x']
f(d)
assert x==[1] and d['x'] is x and d['y']=={'z':[]} and d['w']=={3}
""",
    ),
    "aliasing kept": (
        """
class S:
  def __init__(s, items): s.items=items
  def push(s,x): s.items.append(x)
  def total(s): return sum(s.items)
""",
        """
l=[1]
s=S(l)
s.push(2)
assert l==[1,2]
l.append(10)
assert s.total()==13
assert s.items is l
s.items.append(5)
assert s.total()==18
""",
    ),
    "global container": (
        """
CACHE={}
def f(x):
  CACHE[x]=x*2
  return CACHE[x]
""",
        """
f(2)
assert CACHE=={2:4}
CACHE.clear()
assert f(3)==6 and CACHE=={3:6}
""",
    ),
    "global scalar": (
        """
counter=0
def inc():
  global counter
  counter+=1
""",
        """
inc()
inc()
assert counter==2
""",
    ),
    "callback": (
        """
def apply(g, xs): return [g(x) for x in xs]
def twice(g): return lambda x: g(g(x))
""",
        """
seen=[]
assert apply(lambda x: seen.append(x) or x+1, [1,2])==[2,3]
assert seen==[1,2]
assert twice(lambda x: x*3)(2)==18
assert apply(len, ['a','bb'])==[1,2]
assert apply(str.upper, ['a'])==['A']
""",
    ),
    "callback raises": (
        """
def f(g):
  try:
    return g()
  except ValueError as e:
    return str(e)
def h(g): return g()
""",
        """
def bad(): raise ValueError('x')
assert f(bad)=='x'
class Mine(KeyError): pass
err=Mine('k')
def worse(): raise err
try:
  h(worse)
  assert False
except Mine as e:
  assert e is err
""",
    ),
    "generator": (
        """
def g(n):
  for i in range(n):
    got = yield i
    if got: yield got
  return 'end'
def inf():
  i=0
  while True:
    yield i; i+=1
""",
        """
import itertools
assert list(g(3))==[0,1,2]
x=g(2)
assert next(x)==0 and x.send('hi')=='hi' and next(x)==1
try:
  next(x)
  assert 0
except StopIteration as e: assert e.value=='end'
assert list(itertools.islice(inf(),3))==[0,1,2]
import types
assert isinstance(inf(), types.GeneratorType)
""",
    ),
    "generator cleanup": (
        """
log=[]
def g():
  try:
    yield 1
  finally:
    log.append('closed')
""",
        """
x=g()
next(x)
x.close()
assert log==['closed']
""",
    ),
    "iterables in": (
        """
def total(it): return sum(it)
def take(it,n): return [next(it) for _ in range(n)]
""",
        """
assert total(x for x in [1,2,3])==6
assert total(iter([1,2]))==3
i=iter(range(10))
assert take(i,2)==[0,1]
assert next(i)==2
assert total(map(int,['1','2']))==3
assert total({1:2}.keys())==1
""",
    ),
    "exceptions": (
        """
class E(Exception):
  def __init__(s, code, msg):
    super().__init__(msg); s.code=code
def f(k):
  if k==0: raise KeyError('k')
  if k==1: raise E(5,'five')
  if k==2: raise OSError(2,'no','file')
  if k==3: import json; json.loads('{')
  if k==4:
    try: 1/0
    except ZeroDivisionError as z: raise ValueError('v') from z
  if k==5: raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad')
  if k==6: import sys; sys.exit(3)
""",
        """
import json

def caught(k):
    try: f(k)
    except BaseException as e: return e
assert type(caught(0)) is KeyError and caught(0).args==('k',)
e=caught(1)
assert isinstance(e,E) and e.code==5 and str(e)=='five'
e=caught(2)
assert type(e) is FileNotFoundError and e.errno==2 and e.filename=='file'
e=caught(3)
assert type(e) is json.JSONDecodeError and e.pos==1
e=caught(4)
assert type(e.__cause__) is ZeroDivisionError
assert caught(5).reason=='bad'
assert type(caught(6)) is SystemExit and caught(6).code==3
""",
    ),
    "prints": (
        """
def f(): print('hello'); print('x', end='')
""",
        """
import io, contextlib
b=io.StringIO()
with contextlib.redirect_stdout(b):
    print('a'); f(); print('b')
assert b.getvalue()=='a\\nhello\\nxb\\n', b.getvalue()
""",
    ),
    "warns": (
        """
import warnings
def f(): warnings.warn('old', DeprecationWarning); return 1
""",
        """
import warnings
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter('always')
    f()
assert len(w)==1 and w[0].category is DeprecationWarning and 'old' in str(w[0].message)
""",
    ),
    "random": (
        """
import random
def f(): return [random.random() for _ in range(3)]
""",
        """
import random
random.seed(3)
a=f()
random.seed(3)
assert a==f()==a or True
random.seed(3)
assert f()==a
random.seed(4)
assert f()!=a
""",
    ),
    "rng arg": (
        """
def f(rng): return rng.randint(1,6)
""",
        """
import random
r=random.Random(1); s=random.Random(1)
assert f(r)==s.randint(1,6)
assert r.random()==s.random()
""",
    ),
    "class": (
        """
class Account:
    rate = 0.1
    def __init__(self, owner, balance=0):
        self.owner=owner; self.balance=balance; self.log=[]
    def deposit(self, x):
        if x<=0: raise ValueError('bad')
        self.balance+=x; self.log.append(x); return self
    @property
    def double(self): return self.balance*2
    @classmethod
    def make(cls, o): return cls(o, 5)
    @staticmethod
    def add(a,b): return a+b
    def __len__(self): return len(self.log)
    def __repr__(self): return f'Account({self.owner})'
    def __bool__(self): return self.balance>0
    def __contains__(self, x): return x in self.log
    def __getitem__(self, i): return self.log[i]
    def __call__(self, x): return x+1
    def __enter__(self): return self
    def __exit__(self,*a): self.balance=-1; return True
    def __lt__(self, o): return self.balance<o.balance
class Sub(Account):
    def deposit(self, x): return super().deposit(x+1)
""",
        """
a=Account('x')
assert a.deposit(5) is a and a.balance==5 and a.double==10
assert Account.rate==0.1 and Account.make('y').balance==5 and Account.add(1,2)==3 and a.add(1,2)==3
assert len(a)==1 and repr(a)=='Account(x)' and str(a)=='Account(x)' and f'{a}'=='Account(x)' and bool(a) and not Account('z')
assert 5 in a and 6 not in a and a[0]==5 and list(a)==[5] and a(1)==2
try:
    a.deposit(-1); assert False
except ValueError: pass
with a as b:
    assert b is a
    raise KeyError
assert a.balance==-1
a.balance=7
assert a.double==14
a.extra=3
assert a.extra==3 and vars(a)['extra']==3
del a.extra
assert not hasattr(a,'extra')
s=Sub('s')
s.deposit(1)
assert s.balance==2 and isinstance(s,Account) and issubclass(Sub,Account) and type(s) is Sub and type(s).__name__=='Sub'
assert Account('a',1)<Account('b',2)
assert sorted([Account('b',2),Account('a',1)])[0].owner=='a'
assert a==a and a!=s
try:
    a.double=3
    assert False
except AttributeError: pass
import copy
c=copy.deepcopy(s)
c.deposit(1)
assert s.balance==2 and c.balance==4
d={a:1}
assert d[a]==1
""",
    ),
    "dataclass": (
        """
from dataclasses import dataclass, field
@dataclass
class P:
  x:int
  y:int=0
  t:list=field(default_factory=list)
@dataclass(frozen=True, order=True)
class F:
  a:int
""",
        """
from dataclasses import asdict, is_dataclass, fields, replace
assert P(1)==P(1) and P(1)!=P(2) and repr(P(1))=='P(x=1, y=0, t=[])'
assert asdict(P(1,2))=={'x':1,'y':2,'t':[]} and is_dataclass(P) and [f.name for f in fields(P)]==['x','y','t']
assert replace(P(1),y=5).y==5
assert F(1)<F(2) and hash(F(1))==hash(F(1)) and {F(1):2}[F(1)]==2
try:
  F(1).a=2
  assert 0
except AttributeError as e: assert type(e).__name__=='FrozenInstanceError'
match P(1,2):
  case P(x=a,y=b): assert (a,b)==(1,2)
  case _: assert False
""",
    ),
    "enum": (
        """
from enum import Enum, IntEnum, Flag, auto
class C(Enum):
  RED=1
  BLUE=2
  def nice(self): return self.name.lower()
class I(IntEnum):
  A=1
  B=2
class S(str, Enum):
  X='x'
class Fl(Flag):
  R=auto()
  W=auto()
def f(c): return c is C.RED
def g(): return C.BLUE
def h(): return [I.A, S.X, Fl.R|Fl.W]
""",
        """
assert C.RED.name=='RED' and C.RED.value==1 and C(2) is C.BLUE and C['RED'] is C.RED and list(C)==[C.RED,C.BLUE] and len(C)==2
assert f(C.RED) and not f(C.BLUE) and g() is C.BLUE and g()==C.BLUE and C.RED!=C.BLUE
assert C.RED.nice()=='red'
assert h()==[1,'x',Fl.R|Fl.W] and h()[0] is I.A and I.B>I.A
assert repr(C.RED)=='<C.RED: 1>' and str(C.RED)=='C.RED'
try:
  C(9)
  assert 0
except ValueError: pass
assert isinstance(g(), C) and {C.RED: 1}[C.RED]==1
""",
    ),
    "namedtuple": (
        """
from collections import namedtuple
from typing import NamedTuple
P=namedtuple('P','x y')
class Q(NamedTuple):
  a:int
  b:int=3
  def total(self): return self.a+self.b
def f(): return P(1,2)
def g(p): return p.x+p.y
""",
        """
assert f()==(1,2)==P(1,2) and f().x==1 and f()._replace(x=5).x==5 and f()._asdict()=={'x':1,'y':2} and repr(f())=='P(x=1, y=2)'
assert g(P(3,4))==7 and g(f()._replace(y=9))==10
assert Q(1).total()==4 and Q(1)==(1,3) and P._fields==('x','y')
a,b=f()
assert isinstance(f(),tuple)
""",
    ),
    "value subclass": (
        """
class Celsius(float):
  unit='C'
  def f(self): return self*2
class Stack(list):
  def push(self,x): self.append(x)
  def peek(self): return self[-1]
def mk(): return Celsius(1.5)
""",
        """
assert Celsius(2.0).f()==4.0 and Celsius(2.0)==2.0 and Celsius(1.0).unit=='C' and mk()==1.5 and isinstance(mk(), float)
s=Stack()
s.push(1)
s.push(2)
assert s==[1,2] and s.peek()==2 and len(s)==2 and list(s)==[1,2] and s[0]==1 and isinstance(s, Stack)
assert [1,2]==s and 1 in s and s+[3]==[1,2,3]
""",
    ),
    "abc": (
        """
from abc import ABC, abstractmethod
class Shape(ABC):
  @abstractmethod
  def area(self): ...
class Sq(Shape):
  def __init__(s,a): s.a=a
  def area(s): return s.a**2
def mk(n): return Sq(n)
""",
        """
try:
  Shape()
  assert 0
except TypeError: pass
assert Sq(2).area()==4 and isinstance(mk(3), Shape) and mk(3).area()==9
from collections.abc import Iterable
assert not isinstance(mk(1), Iterable)
""",
    ),
    "mapping": (
        """
from collections.abc import Mapping, MutableMapping
class M(MutableMapping):
  def __init__(s): s.d={}
  def __getitem__(s,k): return s.d[k]
  def __setitem__(s,k,v): s.d[k]=v
  def __delitem__(s,k): del s.d[k]
  def __iter__(s): return iter(s.d)
  def __len__(s): return len(s.d)
""",
        """
from collections.abc import Mapping
m=M()
m['a']=1
assert dict(m)=={'a':1} and m.get('b',2)==2 and isinstance(m, Mapping) and 'a' in m and list(m.items())==[('a',1)] and m=={'a':1}
""",
    ),
    "iterator class": (
        """
class R:
  def __init__(s,n): s.n=n; s.i=0
  def __iter__(s): return s
  def __next__(s):
    if s.i>=s.n: raise StopIteration
    s.i+=1
    return s.i
""",
        """
assert list(R(3))==[1,2,3]
for x in R(1): pass
assert x==1
assert sum(R(4))==10
""",
    ),
    "linked list": (
        """
class N:
  def __init__(s,v,nxt=None): s.v=v; s.next=nxt
def rev(h):
  p=None
  while h: h.next,p,h=p,h,h.next
  return p
def build(xs):
  h=None
  for x in reversed(xs): h=N(x,h)
  return h
""",
        """
h=rev(N(1,N(2,N(3))))
out=[]
while h is not None:
  out.append(h.v); h=h.next
assert out==[3,2,1]
a=N(1)
a.next=a
assert a.next is a
assert build([1,2]).next.v==2
""",
    ),
    "test object in": (
        """
def speak(animal): return animal.speak()+'!'
def setit(o): o.done=True
def size(o): return len(o)+o[0]
def cmp(a,b): return a<b
""",
        """
class Dog:
  def speak(self): return 'woof'
  def __len__(self): return 3
  def __getitem__(self,i): return 4
  def __lt__(self,o): return True
d=Dog()
assert speak(d)=='woof!'
setit(d)
assert d.done is True
assert size(d)==7 and cmp(d,d)
""",
    ),
    "mock": (
        """
import time
class Svc:
  def __init__(self, client): self.client=client
  def run(self): return self.client.fetch(1, k=2)['a']
def nap():
  time.sleep(100)
  return 'ok'
def helper(): return 1
def uses(): return helper()+1
def ask(): return input('? ')
def cwd(): import os; return os.getcwd()
""",
        """
from unittest.mock import Mock, MagicMock, patch
m=Mock()
m.fetch.return_value={'a':5}
assert Svc(m).run()==5
m.fetch.assert_called_once_with(1,k=2)
with patch('time.sleep') as s:
  assert nap()=='ok'
  s.assert_called_once_with(100)
with patch('program.helper', return_value=41):
  assert uses()==42
assert uses()==2
with patch('builtins.input', return_value='yes'):
  assert ask()=='yes'
with patch('os.getcwd', return_value='/x'):
  assert cwd()=='/x'
assert cwd()!='/x'
""",
    ),
    "stdin": (
        """
def f(): return input()+input()
""",
        """
import sys, io
sys.stdin=io.StringIO('a\\nb\\n')
assert f()=='ab'
""",
    ),
    "env": (
        """
import os
def f(): return os.environ.get('K')
""",
        """
import os
assert f() is None
os.environ['K']='v'
assert f()=='v'
del os.environ['K']
assert f() is None
""",
    ),
    "import": (
        """
X=[1]
def f(): return 1
class A: pass
def sum(x): return 7
""",
        """
import program
from program import f, A
from program import sum as s
assert program.f()==1 and program.X==[1] and f()==1 and s([1])==7 and isinstance(program.A(), A)
assert sum([1,2])==3
""",
    ),
    "import solution": (
        """
def f(): return 1
""",
        """
from solution import *
assert f()==1
""",
    ),
    "shadow tested": (
        """
def sorted(x): return 'mine'
def pow(a,b): return a**b
""",
        """
assert sorted([2,1])=='mine'
assert pow(2,3)==8
""",
    ),
    "async": (
        """
import asyncio
async def f(x):
  await asyncio.sleep(0.01)
  return x+1
async def agen(n):
  for i in range(n): yield i
class CM:
  async def __aenter__(self): return 5
  async def __aexit__(self,*a): return False
async def boom(): raise ValueError('b')
async def call(g): return await g(3)
q=None
async def prod(q):
  for i in range(3): await q.put(i)
async def cons(q): return [await q.get() for _ in range(3)]
def mkq(): return asyncio.Queue(1)
""",
        """
import asyncio, inspect
assert asyncio.run(f(1))==2
async def main():
    r = await asyncio.gather(f(1), f(2))
    assert r==[2,3]
    assert [x async for x in agen(3)]==[0,1,2]
    async with CM() as c: assert c==5
    try:
        await boom(); assert False
    except ValueError: pass
    async def dbl(x):
        await asyncio.sleep(0)
        return x*2
    assert await call(dbl)==6
    q=mkq()
    a,b = await asyncio.gather(prod(q), cons(q))
    assert b==[0,1,2]
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.01); assert False
    except asyncio.TimeoutError: pass
asyncio.run(main())
assert inspect.iscoroutinefunction(f)
def test_dummy(): assert True
""",
    ),
    "lru": (
        """
import functools
@functools.lru_cache(maxsize=None)
def fib(n): return n if n<2 else fib(n-1)+fib(n-2)
def counted(): counted.calls+=1
counted.calls=0
""",
        """
assert fib(30)==832040 and fib.cache_info().hits>0
fib.cache_clear()
assert fib.cache_info().currsize==0
counted()
assert counted.calls==1
counted.calls=0
assert counted.calls==0
""",
    ),
    "decorator": (
        """
import functools
def deco(g):
  @functools.wraps(g)
  def w(*a,**k): return ('w', g(*a,**k))
  return w
def retry(n):
  def d(g):
    def w(*a):
      for i in range(n):
        try: return g(*a)
        except ValueError: pass
      raise RuntimeError('gave up')
    return w
  return d
""",
        """
@deco
def g(x):
  'doc'
  return x
assert g(1)==('w',1) and g.__name__=='g' and g.__doc__=='doc'
calls=[]
@retry(3)
def h(x):
  calls.append(x)
  if len(calls)<3: raise ValueError
  return 'ok'
assert h(1)=='ok' and calls==[1,1,1]
""",
    ),
    "contextmanager": (
        """
from contextlib import contextmanager
log=[]
@contextmanager
def cm(x):
  log.append('in')
  try: yield x
  finally: log.append('out')
""",
        """
with cm(3) as v:
  assert v==3 and log==['in']
assert log==['in','out']
""",
    ),
    "match": (
        """
import re
def f(s): return re.match(r'(\\d+)-(\\w+)', s)
def g(): return re.compile('a+')
""",
        """
import re
m=f('12-ab')
assert m and m.group(1)=='12' and m.groups()==('12','ab') and isinstance(m, re.Match)
assert f('x') is None
assert g().match('aaa').group()=='aaa'
""",
    ),
    "files": (
        """
def w(p, t): open(p,'w').write(t)
def r(p): return open(p).read()
def rp(p): return p.read_text()
""",
        """
import pathlib
w('a.txt','hi')
assert open('a.txt').read()=='hi'
assert pathlib.Path('a.txt').exists()
open('b.txt','w').write('yo')
assert r('b.txt')=='yo' and rp(pathlib.Path('b.txt'))=='yo'
""",
    ),
    "threads": (
        """
import threading
class C:
  def __init__(s): s.n=0; s.l=threading.Lock()
  def inc(s):
    with s.l: s.n+=1
def f(x): return x*2
""",
        """
from concurrent.futures import ThreadPoolExecutor
import threading
c=C()
ts=[threading.Thread(target=c.inc) for _ in range(5)]
[t.start() for t in ts]
[t.join() for t in ts]
assert c.n==5
with ThreadPoolExecutor(3) as ex: assert list(ex.map(f,[1,2,3]))==[2,4,6]
""",
    ),
    "program threads call back": (
        """
import threading
def run(fs):
  out=[]
  ts=[threading.Thread(target=lambda f=f: out.append(f())) for f in fs]
  [t.start() for t in ts]
  [t.join() for t in ts]
  return sorted(out)
""",
        """
assert run([lambda: 1, lambda: 2])==[1,2]
""",
    ),
    "operators": (
        """
class V:
  def __init__(s,x,y): s.x=x; s.y=y
  def __eq__(s,o): return isinstance(o,V) and (s.x,s.y)==(o.x,o.y)
  def __hash__(s): return hash((s.x,s.y))
  def __add__(s,o): return V(s.x+o.x,s.y+o.y)
  def __mul__(s,k): return V(s.x*k,s.y*k)
  __rmul__=__mul__
  def __neg__(s): return V(-s.x,-s.y)
  def __abs__(s): return (s.x**2+s.y**2)**.5
  def __iadd__(s,o): s.x+=o.x; s.y+=o.y; return s
  def __iter__(s): return iter((s.x,s.y))
""",
        """
assert V(1,2)+V(3,4)==V(4,6) and V(1,2)*3==V(3,6)==3*V(1,2) and -V(1,2)==V(-1,-2) and abs(V(3,4))==5.0
v=V(1,1)
w=v
v+=V(1,1)
assert v is w and v==V(2,2)
assert V(1,2) in [V(1,2)] and {V(1,2),V(1,2)}=={V(1,2)} and list(V(1,2))==[1,2] and V(1,2)!=3
x,y=V(5,6)
assert (x,y)==(5,6)
""",
    ),
    "unittest": (
        """
def f(x):
  if x<0: raise ValueError('neg')
  return x**.5
""",
        """
import unittest
class T(unittest.TestCase):
  def setUp(self): self.f=f
  def test_a(self): self.assertAlmostEqual(f(2),1.41421356,places=6)
  def test_b(self):
    with self.assertRaises(ValueError): f(-1)
    self.assertRaisesRegex(ValueError,'neg',f,-1)
  def test_c(self): self.assertEqual(self.f(4),2)
""",
    ),
    "generic": (
        """
from typing import Generic, TypeVar
T=TypeVar('T')
class St(Generic[T]):
  def __init__(s): s.i=[]
  def push(s,x:T)->None: s.i.append(x)
  def pop(s)->T: return s.i.pop()
""",
        """
s=St[int]()
s.push(1)
assert s.pop()==1
t=St()
t.push('a')
assert t.pop()=='a'
try:
  t.pop()
  assert 0
except IndexError: pass
""",
    ),
    "simplenamespace": (
        """
import types
def f(): return types.SimpleNamespace(a=1,b=[2])
""",
        """
assert f().a==1 and f().b==[2]
""",
    ),
    "nested closure state": (
        """
def counter():
  n=0
  def inc(k=1):
    nonlocal n
    n+=k
    return n
  return inc
""",
        """
c=counter()
d=counter()
assert c()==1 and c(5)==6 and d()==1
""",
    ),
    "dict views": (
        """
def f(d): return d.keys()
def g(): return {'a':1}.items()
""",
        """
assert list(f({'a':1}))==['a'] and set(g())=={('a',1)} and sorted(g())==[('a',1)]
""",
    ),
    "type args": (
        """
def f(t, v): return t(v)
def g(exc): raise exc('x')
def h(): return int
def k(x, t): return isinstance(x,t)
""",
        """
assert f(int,'3')==3 and f(list,'ab')==['a','b'] and h() is int and k(3,int) and k('a',(int,str))
try:
  g(KeyError)
  assert 0
except KeyError: pass
class Mine(Exception): pass
try:
  g(Mine)
  assert 0
except Mine: pass
""",
    ),
    "nan": (
        """
import math
def f(x): return x
def g(): return float('nan')
""",
        """
import math
assert math.isnan(g())
n=float('nan')
assert f([n])==[n]
""",
    ),
    "mutate then raise": (
        """
def f(a):
  a.append(1)
  raise ValueError
""",
        """
a=[]
try: f(a)
except ValueError: pass
assert a==[1]
""",
    ),
    "recursion": (
        """
def f(n): return f(n+1)
""",
        """
try:
  f(0)
  assert 0
except RecursionError: pass
""",
    ),
    "deep": (
        """
def f(n):
  x=[]
  for _ in range(n): x=[x]
  return x
""",
        """
x=f(5000)
n=0
while x: x=x[0]; n+=1
assert n==5000
""",
    ),
    "in place sort": (
        """
def f(a): a.sort()
def g(a): a[:]=a[::-1]
def h(m):
  for r in m: r.reverse()
""",
        """
a=[3,1,2]
assert f(a) is None and a==[1,2,3]
g(a)
assert a==[3,2,1]
m=[[1,2],[3,4]]
h(m)
assert m==[[2,1],[4,3]]
""",
    ),
    "same inner": (
        """
def f(m): m[0].append(1)
def g(n): return [[0]*n]*n
""",
        """
r=[]
m=[r,r]
f(m)
assert m==[[1],[1]] and r==[1]
x=g(2)
x[0][0]=5
assert x[1][0]==5
""",
    ),
    "logs": (
        """
import logging
log = logging.getLogger("app")
def f(x):
    log.info("got %s", x)
    logging.getLogger("other").error("no")
    return x
""",
        """
import unittest
class T(unittest.TestCase):
    def test_logs(self):
        with self.assertLogs("app", level="INFO") as seen:
            f(3)
        self.assertEqual(seen.output, ["INFO:app:got 3"])
    def test_no_logs(self):
        with self.assertNoLogs("app", level="WARNING"):
            f(3)
""",
    ),
}

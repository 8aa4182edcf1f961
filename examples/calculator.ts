// A small language in TypeScript: lexer, parser, types, an optimiser and two back ends.
// It shows what of TypeScript is stripped: generics, overloads, enums, abstract classes, guards…

namespace Source {
  export interface Position {
    readonly line: number;
    readonly column: number;
  }

  export interface Span {
    readonly start: Position;
    readonly end: Position;
  }

  export function show(span: Span): string {
    return `${span.start.line}:${span.start.column}`;
  }
}

type Span = Source.Span;

// ---- results ----

type Ok<T> = { readonly ok: true; readonly value: T };
type Err<E> = { readonly ok: false; readonly error: E };
type Result<T, E = Problem> = Ok<T> | Err<E>;

const ok = <T,>(value: T): Ok<T> => ({ ok: true, value });
const err = <E,>(error: E): Err<E> => ({ ok: false, error });

class Problem extends Error {
  constructor(message: string, public readonly span?: Span) {
    super(span ? `${Source.show(span)}: ${message}` : message);
    this.name = "Problem";
  }
}

function attempt<T>(run: () => T): Result<T> {
  try {
    return ok(run());
  } catch (error: unknown) {
    if (error instanceof Problem) return err(error);
    throw error;
  }
}

// ---- tokens ----

enum TokenKind {
  Number,
  Name,
  Operator,
  Open,
  Close,
  Comma,
  Let,
  In,
  Fun,
  If,
  Then,
  Else,
  End,
}

interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly span: Span;
}

const KEYWORDS: Readonly<Record<string, TokenKind>> = {
  let: TokenKind.Let,
  in: TokenKind.In,
  fun: TokenKind.Fun,
  if: TokenKind.If,
  then: TokenKind.Then,
  else: TokenKind.Else,
};

const OPERATORS = ["==", "<=", ">=", "->", "+", "-", "*", "/", "^", "<", ">", "=", "!"] as const;
type Operator = (typeof OPERATORS)[number];

class Lexer implements Iterable<Token> {
  #offset = 0;
  #line = 1;
  #column = 1;

  constructor(private readonly text: string) {}

  *[Symbol.iterator](): Generator<Token, void, undefined> {
    while (true) {
      this.#skipSpace();
      const token = this.#next();
      yield token;
      if (token.kind === TokenKind.End) return;
    }
  }

  #position(): Source.Position {
    return { line: this.#line, column: this.#column };
  }

  #skipSpace(): void {
    while (this.#offset < this.text.length && /\s/.test(this.text[this.#offset]!)) {
      this.#advance(1);
    }
  }

  #advance(count: number): string {
    const piece = this.text.slice(this.#offset, this.#offset + count);
    for (const letter of piece) {
      if (letter === "\n") {
        this.#line += 1;
        this.#column = 1;
      } else {
        this.#column += 1;
      }
    }
    this.#offset += count;
    return piece;
  }

  #next(): Token {
    const start = this.#position();
    const make = (kind: TokenKind, length: number): Token => {
      const text = this.#advance(length);
      return { kind, text, span: { start, end: this.#position() } };
    };
    const rest = this.text.slice(this.#offset);
    if (rest === "") return make(TokenKind.End, 0);
    const number = /^\d+(?:\.\d+)?/.exec(rest);
    if (number) return make(TokenKind.Number, number[0].length);
    const word = /^[A-Za-z_]\w*/.exec(rest);
    if (word) return make(KEYWORDS[word[0]] ?? TokenKind.Name, word[0].length);
    const operator = OPERATORS.find((candidate) => rest.startsWith(candidate));
    if (operator !== undefined) return make(TokenKind.Operator, operator.length);
    switch (rest[0]) {
      case "(":
        return make(TokenKind.Open, 1);
      case ")":
        return make(TokenKind.Close, 1);
      case ",":
        return make(TokenKind.Comma, 1);
      default:
        throw new Problem(`unexpected ${JSON.stringify(rest[0])}`, { start, end: start });
    }
  }
}

// ---- the tree ----

interface NodeBase<K extends string> {
  readonly kind: K;
  readonly span: Span;
}

interface NumberNode extends NodeBase<"number"> {
  readonly value: number;
}

interface BooleanNode extends NodeBase<"boolean"> {
  readonly value: boolean;
}

interface NameNode extends NodeBase<"name"> {
  readonly name: string;
}

interface UnaryNode extends NodeBase<"unary"> {
  readonly operator: "-" | "!";
  readonly operand: Expression;
}

interface BinaryNode extends NodeBase<"binary"> {
  readonly operator: Exclude<Operator, "->" | "=" | "!">;
  readonly left: Expression;
  readonly right: Expression;
}

interface LetNode extends NodeBase<"let"> {
  readonly name: string;
  readonly value: Expression;
  readonly body: Expression;
}

interface FunctionNode extends NodeBase<"function"> {
  readonly parameters: readonly string[];
  readonly body: Expression;
}

interface CallNode extends NodeBase<"call"> {
  readonly callee: Expression;
  readonly args: readonly Expression[];
}

interface IfNode extends NodeBase<"if"> {
  readonly test: Expression;
  readonly yes: Expression;
  readonly no: Expression;
}

type Expression =
  | NumberNode
  | BooleanNode
  | NameNode
  | UnaryNode
  | BinaryNode
  | LetNode
  | FunctionNode
  | CallNode
  | IfNode;

type NodeOf<K extends Expression["kind"]> = Extract<Expression, { kind: K }>;

function isNode<K extends Expression["kind"]>(node: Expression, kind: K): node is NodeOf<K> {
  return node.kind === kind;
}

// ---- the parser ----

const PRECEDENCE = {
  "==": 1,
  "<": 2,
  ">": 2,
  "<=": 2,
  ">=": 2,
  "+": 3,
  "-": 3,
  "*": 4,
  "/": 4,
  "^": 5,
} satisfies Record<BinaryNode["operator"], number>;

class Parser {
  private readonly tokens: Token[];
  private index = 0;

  constructor(text: string) {
    this.tokens = [...new Lexer(text)];
  }

  parse(): Expression {
    const expression = this.expression();
    this.expect(TokenKind.End, "the end");
    return expression;
  }

  private get token(): Token {
    return this.tokens[this.index]!;
  }

  private take(): Token {
    return this.tokens[this.index++]!;
  }

  private expect(kind: TokenKind, what: string): Token {
    if (this.token.kind !== kind) {
      const found = this.token.text || "the end";
      throw new Problem(`expected ${what}, found ${found}`, this.token.span);
    }
    return this.take();
  }

  private expectOperator(text: Operator): void {
    if (this.token.kind !== TokenKind.Operator || this.token.text !== text) {
      throw new Problem(`expected ${text}, found ${this.token.text || "the end"}`, this.token.span);
    }
    this.take();
  }

  private span(start: Span): Span {
    const last = this.tokens[Math.max(this.index - 1, 0)]!;
    return { start: start.start, end: last.span.end };
  }

  private expression(): Expression {
    const start = this.token.span;
    switch (this.token.kind) {
      case TokenKind.Let: {
        this.take();
        const name = this.expect(TokenKind.Name, "a name").text;
        this.expectOperator("=");
        const value = this.expression();
        this.expect(TokenKind.In, "in");
        const body = this.expression();
        return { kind: "let", name, value, body, span: this.span(start) };
      }
      case TokenKind.Fun: {
        this.take();
        const parameters = this.list(() => this.expect(TokenKind.Name, "a parameter").text);
        this.expectOperator("->");
        const body = this.expression();
        return { kind: "function", parameters, body, span: this.span(start) };
      }
      case TokenKind.If: {
        this.take();
        const test = this.expression();
        this.expect(TokenKind.Then, "then");
        const yes = this.expression();
        this.expect(TokenKind.Else, "else");
        const no = this.expression();
        return { kind: "if", test, yes, no, span: this.span(start) };
      }
      default:
        return this.binary(0);
    }
  }

  private binary(minimum: number): Expression {
    let left = this.unary();
    while (this.token.kind === TokenKind.Operator && this.token.text in PRECEDENCE) {
      const operator = this.token.text as keyof typeof PRECEDENCE;
      const precedence = PRECEDENCE[operator];
      if (precedence <= minimum) break;
      this.take();
      // The power operator groups from the right.
      const right = this.binary(operator === "^" ? precedence - 1 : precedence);
      left = { kind: "binary", operator, left, right, span: this.span(left.span) };
    }
    return left;
  }

  private unary(): Expression {
    const { kind, text, span } = this.token;
    if (kind === TokenKind.Operator && (text === "-" || text === "!")) {
      this.take();
      return { kind: "unary", operator: text, operand: this.unary(), span: this.span(span) };
    }
    return this.call();
  }

  private call(): Expression {
    let callee = this.primary();
    while (this.token.kind === TokenKind.Open) {
      const args = this.list(() => this.expression());
      callee = { kind: "call", callee, args, span: this.span(callee.span) };
    }
    return callee;
  }

  private list<T>(item: () => T): T[] {
    const items: T[] = [];
    this.expect(TokenKind.Open, "(");
    while (this.token.kind !== TokenKind.Close) {
      items.push(item());
      if (this.token.kind === TokenKind.Comma) this.take();
      else break;
    }
    this.expect(TokenKind.Close, ")");
    return items;
  }

  private primary(): Expression {
    const { kind, text, span } = this.token;
    if (kind === TokenKind.Number) {
      this.take();
      return { kind: "number", value: Number(text), span };
    }
    if (kind === TokenKind.Name) {
      this.take();
      if (text === "true" || text === "false") {
        return { kind: "boolean", value: text === "true", span };
      }
      return { kind: "name", name: text, span };
    }
    this.expect(TokenKind.Open, "an expression");
    const inner = this.expression();
    this.expect(TokenKind.Close, ")");
    return inner;
  }
}

// ---- walking ----

abstract class Transformer {
  visit(node: Expression): Expression {
    switch (node.kind) {
      case "unary":
        return this.leave({ ...node, operand: this.visit(node.operand) });
      case "binary":
        return this.leave({ ...node, left: this.visit(node.left), right: this.visit(node.right) });
      case "let":
        return this.leave({ ...node, value: this.visit(node.value), body: this.visit(node.body) });
      case "function":
        return this.leave({ ...node, body: this.visit(node.body) });
      case "call":
        return this.leave({
          ...node,
          callee: this.visit(node.callee),
          args: node.args.map((argument) => this.visit(argument)),
        });
      case "if":
        return this.leave({
          ...node,
          test: this.visit(node.test),
          yes: this.visit(node.yes),
          no: this.visit(node.no),
        });
      default:
        return this.leave(node);
    }
  }

  protected abstract leave(node: Expression): Expression;
}

type Arithmetic = (left: number, right: number) => number | boolean;

const ARITHMETIC: Record<BinaryNode["operator"], Arithmetic> = {
  "+": (left, right) => left + right,
  "-": (left, right) => left - right,
  "*": (left, right) => left * right,
  "/": (left, right) => left / right,
  "^": (left, right) => left ** right,
  "<": (left, right) => left < right,
  ">": (left, right) => left > right,
  "<=": (left, right) => left <= right,
  ">=": (left, right) => left >= right,
  "==": (left, right) => left === right,
};

function literal(value: number | boolean, span: Span): NumberNode | BooleanNode {
  return typeof value === "number"
    ? { kind: "number", value, span }
    : { kind: "boolean", value, span };
}

class ConstantFolder extends Transformer {
  folded = 0;

  protected override leave(node: Expression): Expression {
    if (isNode(node, "binary") && isNode(node.left, "number") && isNode(node.right, "number")) {
      this.folded += 1;
      return literal(ARITHMETIC[node.operator](node.left.value, node.right.value), node.span);
    }
    if (isNode(node, "unary") && isNode(node.operand, "number") && node.operator === "-") {
      this.folded += 1;
      return literal(-node.operand.value, node.span);
    }
    if (isNode(node, "if") && isNode(node.test, "boolean")) {
      this.folded += 1;
      return node.test.value ? node.yes : node.no;
    }
    return node;
  }
}

// ---- values ----

class Closure {
  constructor(
    readonly parameters: readonly string[],
    readonly body: Expression,
    readonly scope: Scope,
  ) {}
}

type Builtin = (...args: number[]) => number;
type Value = number | boolean | Closure | Builtin;

class Scope {
  private readonly values = new Map<string, Value>();

  constructor(private readonly parent?: Scope) {}

  get(name: string): Value | undefined {
    return this.values.get(name) ?? this.parent?.get(name);
  }

  with(entries: Iterable<readonly [string, Value]>): Scope {
    const inner = new Scope(this);
    for (const [name, value] of entries) inner.values.set(name, value);
    return inner;
  }
}

function describe(value: Value): string;
function describe(value: Value, digits: number): string;
function describe(value: Value, digits?: number): string {
  if (value instanceof Closure) return `fun(${value.parameters.join(", ")})`;
  if (typeof value === "function") return "builtin";
  if (typeof value === "boolean" || digits === undefined) return String(value);
  return value.toFixed(digits).replace(/\.?0+$/, "");
}

// ---- back end one: a tree walker ----

class Interpreter {
  private depth = 0;

  constructor(private readonly depthMax: number = 600) {}

  run(node: Expression, scope: Scope): Value {
    if (++this.depth > this.depthMax) throw new Problem("too deep", node.span);
    try {
      return this.step(node, scope);
    } finally {
      this.depth -= 1;
    }
  }

  private step(node: Expression, scope: Scope): Value {
    switch (node.kind) {
      case "number":
      case "boolean":
        return node.value;
      case "name": {
        const value = scope.get(node.name);
        if (value === undefined) throw new Problem(`${node.name} is not defined`, node.span);
        return value;
      }
      case "unary": {
        const operand = this.run(node.operand, scope);
        return node.operator === "-" ? -this.number(operand, node) : !this.boolean(operand, node);
      }
      case "binary": {
        const left = this.number(this.run(node.left, scope), node.left);
        const right = this.number(this.run(node.right, scope), node.right);
        return ARITHMETIC[node.operator](left, right);
      }
      case "let": {
        // A function may call itself: its own name is in the scope it closes over.
        const inner = new Scope(scope);
        const value = this.run(node.value, inner);
        (inner as unknown as { values: Map<string, Value> }).values.set(node.name, value);
        return this.run(node.body, inner);
      }
      case "function":
        return new Closure(node.parameters, node.body, scope);
      case "if":
        return this.run(this.boolean(this.run(node.test, scope), node.test) ? node.yes : node.no, scope);
      case "call":
        return this.call(node, scope);
      default: {
        const never: never = node;
        throw new Problem(`unknown node ${(never as Expression).kind}`);
      }
    }
  }

  private call(node: CallNode, scope: Scope): Value {
    const callee = this.run(node.callee, scope);
    const args = node.args.map((argument) => this.run(argument, scope));
    if (typeof callee === "function") {
      return callee(...args.map((value, index) => this.number(value, node.args[index]!)));
    }
    if (!(callee instanceof Closure)) throw new Problem("this is no function", node.callee.span);
    if (args.length !== callee.parameters.length) {
      const wanted = callee.parameters.length;
      throw new Problem(`expected ${wanted} arguments, found ${args.length}`, node.span);
    }
    const entries = callee.parameters.map((name, index) => [name, args[index]!] as const);
    return this.run(callee.body, callee.scope.with(entries));
  }

  private number(value: Value, node: Expression): number {
    if (typeof value !== "number") throw new Problem("expected a number", node.span);
    return value;
  }

  private boolean(value: Value, node: Expression): boolean {
    if (typeof value !== "boolean") throw new Problem("expected true or false", node.span);
    return value;
  }
}

// ---- back end two: printing ----

function print(node: Expression, outer = 0): string {
  const wrap = (text: string, inner: number) => (inner < outer ? `(${text})` : text);
  switch (node.kind) {
    case "number":
    case "boolean":
      return String(node.value);
    case "name":
      return node.name;
    case "unary":
      return `${node.operator}${print(node.operand, 9)}`;
    case "binary": {
      const own = PRECEDENCE[node.operator];
      return wrap(`${print(node.left, own)} ${node.operator} ${print(node.right, own + 1)}`, own);
    }
    case "let":
      return wrap(`let ${node.name} = ${print(node.value)} in ${print(node.body)}`, 0);
    case "function":
      return wrap(`fun(${node.parameters.join(", ")}) -> ${print(node.body)}`, 0);
    case "call":
      return `${print(node.callee, 9)}(${node.args.map((argument) => print(argument)).join(", ")})`;
    case "if":
      return wrap(`if ${print(node.test)} then ${print(node.yes)} else ${print(node.no)}`, 0);
  }
}

// ---- all of it ----

const GLOBALS = new Scope().with(
  Object.entries({
    sqrt: Math.sqrt,
    max: Math.max,
    min: Math.min,
    abs: Math.abs,
  } satisfies Record<string, Builtin>),
);

interface Report {
  readonly source: string;
  readonly outcome: Result<{ value: string; folded: number; printed: string }>;
}

function evaluate(source: string): Report {
  const outcome = attempt(() => {
    const tree = new Parser(source).parse();
    const folder = new ConstantFolder();
    const simpler = folder.visit(tree);
    const value = new Interpreter().run(simpler, GLOBALS);
    return { value: describe(value, 6), folded: folder.folded, printed: print(simpler) };
  });
  return { source, outcome };
}

const PROGRAMS: readonly string[] = [
  "1 + 2 * 3 ^ 2 ^ 0.5",
  "let square = fun(x) -> x * x in square(3) + square(4)",
  "let fact = fun(n) -> if n < 2 then 1 else n * fact(n - 1) in fact(10)",
  "let fib = fun(n) -> if n < 2 then n else fib(n - 1) + fib(n - 2) in fib(15)",
  "sqrt(max(9, 16)) - -(2 - 5)",
  "if 2 < 1 then nothing else 1 / 3",
  "fun(a, b) -> a",
  "let loop = fun(n) -> loop(n + 1) in loop(0)",
  "1 + true",
  "(1 + 2",
  "undefined_name",
  "1 ? 2",
];

for (const { source, outcome } of PROGRAMS.map(evaluate)) {
  const line = outcome.ok
    ? `${outcome.value.value}  (${outcome.value.folded} folded, ${outcome.value.printed})`
    : `error ${outcome.error.message}`;
  console.log(`${source}\n  ${line}`);
}

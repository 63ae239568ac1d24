//! Where the four families of APIs put the model's text, what ends it, and how more of it is written.
//!
//! ```text
//! Anthropic   content_block_delta .delta.text|.partial_json       content_block_stop, message_stop
//! Chat        choices[].delta.content|.refusal|.tool_calls[]      finish_reason, [DONE]
//!             choices[].text (completions)
//! Responses   response.output_text.delta .delta …                 ….done, output_item.done, response.completed
//! Gemini      candidates[].content.parts[].text|.functionCall     finishReason
//! ```
//!
//! Sources: docs.claude.com/en/api/messages-streaming, platform.openai.com/docs/api-reference (chat-streaming,
//! responses-streaming), ai.google.dev/api/generate-content. Thinking, signatures and encrypted reasoning are never
//! touched: they are signed, or sent back as they came.

use std::collections::HashSet;

use super::channel::Form;
use super::dom::{Dom, Sort};

/// An API by the shape of its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    Anthropic,
    Chat,
    Responses,
    Gemini,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Part {
    Text,
    Refusal,
    Arguments,
    /// The call of Chat Completions before there were many.
    Function,
    /// Input of a custom tool: plain text.
    Input,
    McpArguments,
    Code,
    /// Looked at only.
    Thinking,
}

/// Which text a piece belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Id {
    /// The block, choice, output or candidate.
    pub outer: u64,
    /// The tool call or content part in it.
    pub inner: u64,
    pub part: Part,
}

/// A string of the document that holds text for the client.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub start: usize,
    pub end: usize,
    /// None for a text that is whole.
    pub id: Option<Id>,
    pub form: Form,
    /// Of a whole text: the place of the tool's name, and that of the argument's; empty where there is none.
    pub tool: (usize, usize),
    pub key: (usize, usize),
    /// The list that the string is in, a node.
    pub list: Option<usize>,
}

/// What ends with a document.
#[derive(Default)]
pub(super) struct Closes {
    pub all: bool,
    outer: HashSet<u64>,
    one: HashSet<Id>,
}

impl Closes {
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    pub fn ends(&self, id: Id) -> bool {
        self.all || self.outer.contains(&id.outer) || self.one.contains(&id)
    }

    /// Whether all texts of the block end.
    pub fn ends_all(&self, outer: u64) -> bool {
        self.all || self.outer.contains(&outer)
    }

    pub fn is_empty(&self) -> bool {
        !self.all && self.outer.is_empty() && self.one.is_empty()
    }

    fn clear(&mut self) {
        self.all = false;
        self.outer.clear();
        self.one.clear();
    }
}

/// What a document is to the restorer.
#[derive(Default)]
pub(super) struct Plan {
    /// In the order of the document.
    pub leaves: Vec<Leaf>,
    pub closes: Closes,
    /// The place of `sequence_number`.
    pub sequence: Option<(usize, usize)>,
    /// The places of the names of tools whose arguments come later, by block and call.
    pub names: Vec<((u64, u64), (usize, usize))>,
}

impl Plan {
    fn close_outer(&mut self, outer: u64) {
        self.closes.outer.insert(outer);
    }

    fn clear(&mut self) {
        self.leaves.clear();
        self.closes.clear();
        self.sequence = None;
        self.names.clear();
    }
}

/// Reads one document into a plan.
struct Reader<'a> {
    data: &'a [u8],
    dom: &'a mut Dom,
    plan: &'a mut Plan,
    /// The name of the tool that is read.
    tool: (usize, usize),
}

impl Family {
    /// The family of an API by the path of a request.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
        if path.ends_with("GenerateContent") || path.ends_with("generateContent") {
            return Some(Family::Gemini);
        }
        let last = |name: &str| path.ends_with(name);
        if last("/messages") || last("awPredict") {
            Some(Family::Anthropic)
        } else if last("/completions") || Self::is_enveloped(path) {
            Some(Family::Chat)
        } else if last("/responses") {
            Some(Family::Responses)
        } else {
            None
        }
    }

    /// Whether the gateway behind a path puts each document of the answer into one of its own (Qoder).
    pub fn is_enveloped(path: &str) -> bool {
        path.split('?').next().unwrap_or_default().ends_with("/agent_chat_generation")
    }

    pub(super) fn plan(self, data: &[u8], dom: &mut Dom, plan: &mut Plan) {
        plan.clear();
        let mut reader = Reader { data, dom, plan, tool: (0, 0) };
        match self {
            Family::Anthropic => reader.anthropic(),
            Family::Chat => reader.chat(),
            Family::Responses => reader.responses(),
            Family::Gemini => reader.gemini(),
        }
        // Members may stand in any order; edits go from front to back.
        plan.leaves.sort_by_key(|leaf| leaf.start);
        plan.leaves.dedup_by_key(|leaf| leaf.start);
    }
}

impl Reader<'_> {
    fn get(&self, node: Option<usize>, name: &str) -> Option<usize> {
        self.dom.get(self.data, node?, name)
    }

    fn text(&self, node: Option<usize>) -> &[u8] {
        self.dom.text(self.data, node)
    }

    fn number(&self, node: Option<usize>) -> Option<u64> {
        self.dom.number(self.data, node)
    }

    /// Whether a reason is given; some servers write an empty one on every event.
    fn says(&self, node: Option<usize>) -> bool {
        !matches!(self.text(node), b"" | b"null")
    }

    /// Visits the children of `list`.
    fn each(&mut self, list: Option<usize>, mut visit: impl FnMut(&mut Self, usize)) {
        let Some((list, after)) = list.and_then(|list| Some((list, self.dom.nodes.get(list)?.after))) else { return };
        let mut at = list + 1;
        while at < after {
            visit(self, at);
            at = self.dom.nodes[at].after;
        }
    }

    /// Takes the string at `node`.
    fn leaf(&mut self, node: Option<usize>, id: Option<Id>, form: Form) {
        let Some(node) = node.and_then(|node| self.dom.nodes.get_mut(node)) else { return };
        if node.sort == Sort::String && !node.taken {
            node.taken = true;
            let (start, end, tool) = (node.start, node.end, self.tool);
            self.plan.leaves.push(Leaf { start, end, id, form, tool, key: (0, 0), list: None });
        }
    }

    /// What is taken from now on is for the tool that `node` names.
    fn tool(&mut self, node: Option<usize>) -> (usize, usize) {
        let name = node.and_then(|node| self.dom.nodes.get(node)).filter(|node| node.sort == Sort::String);
        self.tool = name.map_or((0, 0), |name| (name.start, name.end));
        self.tool
    }

    /// The arguments of the tool that `node` names come later, as those of `call`.
    fn names(&mut self, call: (u64, u64), node: Option<usize>) {
        let name = self.tool(node);
        if name != (0, 0) {
            self.plan.names.push((call, name));
        }
    }

    fn whole(&mut self, node: Option<usize>, form: Form) {
        self.leaf(node, None, form);
    }

    /// Takes all strings and names inside `node`.
    fn strings(&mut self, node: Option<usize>) {
        let Some(node) = node else { return };
        // The objects and lists around, each with its node, its end and the name of the argument.
        let mut around: Vec<(usize, usize, (usize, usize))> = Vec::new();
        for index in node..self.dom.nodes[node].after {
            let inside = self.dom.nodes[index];
            around.retain(|(_, after, _)| *after > index);
            let mut key = around.last().map_or((0, 0), |(.., key)| *key);
            if index != node && inside.named {
                key = inside.name;
                self.dom.nodes[index].name_taken = true;
                let (start, end) = inside.name;
                let (form, tool) = (Form::Tool, self.tool);
                self.plan.leaves.push(Leaf { start, end, id: None, form, tool, key: (0, 0), list: None });
            }
            let before = self.plan.leaves.len();
            self.whole(Some(index), Form::Tool);
            if let Some(leaf) = self.plan.leaves[before..].first_mut() {
                leaf.key = key;
                leaf.list = around.last().map(|(list, ..)| *list).filter(|_| !inside.named);
            }
            if matches!(inside.sort, Sort::Object | Sort::Array) {
                around.push((index, inside.after, key));
            }
        }
    }

    /// Nothing is looked for in `node`: what is said there is the request's own, or sealed.
    fn pass(&mut self, node: Option<usize>) {
        if let Some(node) = node.and_then(|node| self.dom.nodes.get_mut(node)) {
            node.taken = true;
        }
    }

    fn anthropic(&mut self) {
        let root = Some(0);
        let outer = self.number(self.get(root, "index")).unwrap_or_default();
        match self.text(self.get(root, "type")) {
            b"content_block_start" => {
                let block = self.get(root, "content_block");
                self.names((outer, 0), self.get(block, "name"));
                if self.text(self.get(block, "type")) == b"text" {
                    // The deltas go on from here.
                    self.leaf(self.get(block, "text"), Some(Id { outer, inner: 0, part: Part::Text }), Form::Text);
                }
                self.anthropic_block(block);
            }
            b"content_block_delta" => {
                let delta = self.get(root, "delta");
                let id = |part| Some(Id { outer, inner: 0, part });
                match self.text(self.get(delta, "type")) {
                    b"text_delta" => self.leaf(self.get(delta, "text"), id(Part::Text), Form::Text),
                    b"input_json_delta" => {
                        self.leaf(self.get(delta, "partial_json"), id(Part::Arguments), Form::Arguments);
                    }
                    b"thinking_delta" => self.leaf(self.get(delta, "thinking"), id(Part::Thinking), Form::Text),
                    b"citations_delta" => self.citation(self.get(delta, "citation")),
                    b"signature_delta" => self.pass(delta),
                    _ => {}
                }
            }
            b"content_block_stop" => self.plan.close_outer(outer),
            b"message_start" => self.anthropic_content(self.get(root, "message")),
            b"message_delta" | b"message_stop" => self.plan.closes.all = true,
            b"error" => {
                self.plan.closes.all = true;
                self.whole(self.get(self.get(root, "error"), "message"), Form::Text);
            }
            b"message" => self.anthropic_content(root),
            _ => {}
        }
    }

    fn anthropic_content(&mut self, message: Option<usize>) {
        self.each(self.get(message, "content"), |this, block| this.anthropic_block(Some(block)));
    }

    fn anthropic_block(&mut self, block: Option<usize>) {
        match self.text(self.get(block, "type")) {
            b"text" => {
                self.whole(self.get(block, "text"), Form::Text);
                self.each(self.get(block, "citations"), |this, citation| this.citation(Some(citation)));
            }
            b"tool_use" | b"server_tool_use" | b"mcp_tool_use" => {
                self.tool(self.get(block, "name"));
                self.strings(self.get(block, "input"));
            }
            b"thinking" => self.pass(self.get(block, "signature")),
            b"redacted_thinking" => self.pass(block),
            _ => {}
        }
    }

    fn citation(&mut self, citation: Option<usize>) {
        for name in ["cited_text", "document_title", "title", "url", "source"] {
            self.whole(self.get(citation, name), Form::Text);
        }
        self.pass(self.get(citation, "encrypted_index"));
    }

    fn chat(&mut self) {
        self.whole(self.get(self.get(Some(0), "error"), "message"), Form::Text);
        self.each(self.get(Some(0), "choices"), |this, choice| this.choice(Some(choice)));
    }

    fn choice(&mut self, choice: Option<usize>) {
        let outer = self.number(self.get(choice, "index")).unwrap_or_default();
        let delta = self.get(choice, "delta");
        let id = |part, inner| Some(Id { outer, inner, part });
        // Completions without a conversation: no delta around the text.
        self.leaf(self.get(choice, "text"), id(Part::Text, 0), Form::Text);
        self.leaf(self.get(delta, "content"), id(Part::Text, 0), Form::Text);
        self.leaf(self.get(delta, "refusal"), id(Part::Refusal, 0), Form::Text);
        for name in ["reasoning_content", "reasoning"] {
            self.leaf(self.get(delta, name), id(Part::Thinking, 0), Form::Text);
        }
        let function = self.get(delta, "function_call");
        self.names((outer, 0), self.get(function, "name"));
        self.leaf(self.get(function, "arguments"), id(Part::Function, 0), Form::Arguments);
        let mut place = 0;
        self.each(self.get(delta, "tool_calls"), |this, call| {
            let inner = this.number(this.get(Some(call), "index")).unwrap_or(place);
            place += 1;
            for form in ["function", "custom"] {
                this.names((outer, inner), this.get(this.get(Some(call), form), "name"));
            }
            let arguments = this.get(this.get(Some(call), "function"), "arguments");
            this.leaf(arguments, id(Part::Arguments, inner), Form::Arguments);
            let input = this.get(this.get(Some(call), "custom"), "input");
            this.leaf(input, id(Part::Input, inner), Form::Tool);
        });
        if self.says(self.get(choice, "finish_reason")) {
            self.plan.close_outer(outer);
        }
        let message = self.get(choice, "message");
        let content = self.get(message, "content");
        self.whole(content, Form::Text);
        self.each(content, |this, part| {
            this.whole(this.get(Some(part), "text"), Form::Text);
            this.whole(this.get(Some(part), "refusal"), Form::Text);
        });
        self.whole(self.get(message, "refusal"), Form::Text);
        let function = self.get(message, "function_call");
        self.tool(self.get(function, "name"));
        self.whole(self.get(function, "arguments"), Form::Arguments);
        self.each(self.get(message, "tool_calls"), |this, call| {
            let (function, custom) = (this.get(Some(call), "function"), this.get(Some(call), "custom"));
            this.tool(this.get(function, "name"));
            this.whole(this.get(function, "arguments"), Form::Arguments);
            this.tool(this.get(custom, "name"));
            this.whole(this.get(custom, "input"), Form::Tool);
        });
    }

    fn responses(&mut self) {
        let root = Some(0);
        if let Some(node) = self.get(root, "sequence_number").filter(|&node| self.dom.nodes[node].sort == Sort::Other) {
            self.plan.sequence = Some((self.dom.nodes[node].start, self.dom.nodes[node].end));
        }
        let outer = self.number(self.get(root, "output_index")).unwrap_or_default();
        let inner = self.number(self.get(root, "content_index")).unwrap_or_default();
        let kind = self.text(self.get(root, "type"));
        let (part, form, name) = match kind {
            b"response.output_text.delta" | b"response.output_text.done" => (Part::Text, Form::Text, "text"),
            b"response.refusal.delta" | b"response.refusal.done" => (Part::Refusal, Form::Text, "refusal"),
            b"response.function_call_arguments.delta" | b"response.function_call_arguments.done" => {
                (Part::Arguments, Form::Arguments, "arguments")
            }
            b"response.mcp_call_arguments.delta" | b"response.mcp_call_arguments.done" => {
                (Part::McpArguments, Form::Arguments, "arguments")
            }
            b"response.custom_tool_call_input.delta" | b"response.custom_tool_call_input.done" => {
                (Part::Input, Form::Tool, "input")
            }
            b"response.code_interpreter_call_code.delta" | b"response.code_interpreter_call_code.done" => {
                (Part::Code, Form::Tool, "code")
            }
            b"response.reasoning_summary_text.delta" | b"response.reasoning_text.delta" => {
                (Part::Thinking, Form::Text, "text")
            }
            b"response.content_part.added" | b"response.content_part.done" => {
                if kind.ends_with(b"done") {
                    for part in [Part::Text, Part::Refusal] {
                        self.plan.closes.one.insert(Id { outer, inner, part });
                    }
                }
                return self.content_part(self.get(root, "part"));
            }
            b"response.output_item.added" | b"response.output_item.done" => {
                if kind.ends_with(b"done") {
                    self.plan.close_outer(outer);
                }
                let item = self.get(root, "item");
                self.names((outer, 0), self.get(item, "name"));
                return self.item(item);
            }
            b"error" => {
                self.plan.closes.all = true;
                self.whole(self.get(root, "message"), Form::Text);
                return self.whole(self.get(self.get(root, "error"), "message"), Form::Text);
            }
            b"response.created" | b"response.in_progress" | b"response.queued" => {
                return self.response(self.get(root, "response"));
            }
            b"response.completed" | b"response.incomplete" | b"response.failed" | b"response.done" => {
                self.plan.closes.all = true;
                return self.response(self.get(root, "response"));
            }
            b"" => return self.response(root),
            _ => return,
        };
        let id = Id { outer, inner, part };
        if kind.ends_with(b".delta") {
            self.leaf(self.get(root, "delta"), Some(id), form);
        } else {
            self.plan.closes.one.insert(id);
            self.whole(self.get(root, name), form);
        }
    }

    fn response(&mut self, response: Option<usize>) {
        // The request's own words, said again.
        for name in
            ["instructions", "input", "tools", "metadata", "prompt", "user", "safety_identifier", "prompt_cache_key"]
        {
            self.pass(self.get(response, name));
        }
        self.whole(self.get(self.get(response, "error"), "message"), Form::Text);
        self.each(self.get(response, "output"), |this, item| this.item(Some(item)));
        self.whole(self.get(response, "output_text"), Form::Text);
    }

    fn item(&mut self, item: Option<usize>) {
        self.tool(self.get(item, "name"));
        match self.text(self.get(item, "type")) {
            b"message" => {
                self.each(self.get(item, "content"), |this, part| this.content_part(Some(part)));
            }
            b"function_call" | b"mcp_call" | b"mcp_approval_request" => {
                self.whole(self.get(item, "arguments"), Form::Arguments);
            }
            b"custom_tool_call" => self.whole(self.get(item, "input"), Form::Tool),
            b"code_interpreter_call" => self.whole(self.get(item, "code"), Form::Tool),
            b"local_shell_call" | b"shell_call" | b"computer_call" => self.strings(self.get(item, "action")),
            b"apply_patch_call" => self.strings(self.get(item, "operation")),
            b"reasoning" | b"compaction" => self.pass(self.get(item, "encrypted_content")),
            _ => {}
        }
    }

    fn content_part(&mut self, part: Option<usize>) {
        match self.text(self.get(part, "type")) {
            b"output_text" | b"text" => self.whole(self.get(part, "text"), Form::Text),
            b"refusal" => self.whole(self.get(part, "refusal"), Form::Text),
            _ => {}
        }
    }

    fn gemini(&mut self) {
        // A stream without `alt=sse` is one array of documents.
        if self.dom.nodes.first().is_some_and(|root| root.sort == Sort::Array) {
            self.each(Some(0), |this, document| this.gemini_document(Some(document)));
        } else {
            self.gemini_document(Some(0));
        }
    }

    fn gemini_document(&mut self, root: Option<usize>) {
        let root = self.get(root, "response").or(root);
        self.whole(self.get(self.get(root, "error"), "message"), Form::Text);
        self.each(self.get(root, "candidates"), |this, candidate| this.candidate(Some(candidate)));
    }

    fn candidate(&mut self, candidate: Option<usize>) {
        let outer = self.number(self.get(candidate, "index")).unwrap_or_default();
        let mut call = false;
        self.each(self.get(self.get(candidate, "content"), "parts"), |this, part| {
            let part = Some(part);
            this.pass(this.get(part, "thoughtSignature"));
            let thought = this.get(part, "thought").is_some_and(|node| {
                let node = this.dom.nodes[node];
                &this.data[node.start..node.end] == b"true"
            });
            let kind = if thought { Part::Thinking } else { Part::Text };
            this.leaf(this.get(part, "text"), Some(Id { outer, inner: 0, part: kind }), Form::Text);
            if let Some(function) = this.get(part, "functionCall") {
                call = true;
                this.tool(this.get(Some(function), "name"));
                this.strings(this.get(Some(function), "args"));
            }
        });
        if call || self.says(self.get(candidate, "finishReason")) {
            self.plan.close_outer(outer);
        }
    }
}

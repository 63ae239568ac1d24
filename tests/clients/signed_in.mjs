// What clients are answered that sign in and ask which models there are; undefined for all other paths.

const tomorrow = () => Math.floor(Date.now() / 1000) + 86400;

export const qoder = (path) => {
  if (path.endsWith("/jobToken/exchange")) return { token: "jt-dummy", refresh_token: "rt-dummy", expires_in: 86400, expires_at: new Date(tomorrow() * 1000).toISOString() };
  if (path.endsWith("/userinfo")) return { id: "48291057", name: "nobody", email: "nobody@example.com" };
  if (path.endsWith("/user/status")) return { status: "normal", userType: "personal", plan: "free", quota: 100, isQuotaExceeded: false };
  if (path.endsWith("/model/list")) {
    const model = { key: "auto", display_name: "Auto", model: "auto", is_default: true, enable: true, source: "system", format: "openai", max_input_tokens: 180000, max_output_tokens: 8000, is_vl: false, is_reasoning: false, price_factor: 1 };
    return { chat: [model], assistant: [model] };
  }
};

export const copilot = (path) => {
  const at = (name) => `https://${name}.individual.githubcopilot.com`;
  if (path === "/copilot_internal/user")
    return { login: "nobody", id: 1, copilot_plan: "individual", chat_enabled: true, cli_enabled: true, organization_login_list: [], organization_list: [], analytics_tracking_id: "0123456789abcdef0123456789abcdef", is_mcp_enabled: true, endpoints: { api: at("api"), telemetry: at("telemetry"), proxy: at("proxy"), "origin-tracker": at("origin-tracker") } };
  if (path === "/models") {
    const limits = { max_context_window_tokens: 200000, max_prompt_tokens: 128000, max_output_tokens: 16000 };
    const model = (id) => ({ id, object: "model", name: id, vendor: "nobody", version: id, preview: false, model_picker_enabled: true, policy: { state: "enabled", terms: "" }, billing: { is_premium: false, multiplier: 0 }, capabilities: { type: "chat", family: id, object: "model_capabilities", tokenizer: "o200k_base", limits, supports: { streaming: true, tool_calls: true } }, supported_endpoints: ["/chat/completions"] });
    return { object: "list", data: ["claude-sonnet-4.6", "claude-sonnet-4.5", "gpt-5"].map(model) };
  }
};

export const cursor = (path) => {
  const claims = Buffer.from(JSON.stringify({ sub: "nobody", exp: tomorrow() })).toString("base64url");
  if (path.endsWith("/exchange_user_api_key")) return { accessToken: `eyJhbGciOiJub25lIn0.${claims}.eA`, refreshToken: "r", authId: "nobody" };
  if (path === "/v1/models") return { items: [{ id: "composer-2", displayName: "Composer 2", aliases: [], variants: [], parameters: [] }] };
};

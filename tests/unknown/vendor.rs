//! Qingmei, an assistant of a Chinese vendor: abbreviated names and pinyin, a document in a form, ids in the query, a cookie and
//! headers, an environment in Chinese, JSON-RPC over a WebSocket, logs by line.
//!
//! Its traffic was written down before it was measured.

use divulge::engine::Part;

use super::encode::{form_value, messages};
use super::sent::{Sent, check};

const CHAT: &str = r##"{"convId":"c7e41f0a93b84d6f8a25d1903be6c74f","modelCode":"qingmei-coder-plus","stream":true,"params":{"temperature":0.3,"top_p":0.8,"maxTokens":4096},"messages":[{"role":"system","content":"你是青梅编程助手，回答要简洁。\n\n# 环境信息\n操作系统：Windows 11 专业版 10.0.26100\n用户名：zhaomin\n主机名：ZHAOMIN-PC\n工作目录：D:\\work\\kucun\n用户主目录：C:\\Users\\zhaomin\n终端：PowerShell 7.4.6\n当前时间：2026年11月22日 14:05 (UTC+6)\nGit 分支：feature/ruku\nGit 远程仓库：https://gitee.example/zhaomin/kucun.git\n\n# 要求\n不要修改 README.md，端口 8080 保持不变。"},{"role":"user","content":"把 ruku.py 里的 total 函数改成按仓库分组，然后写一个测试。"},{"role":"assistant","content":"好的，我先看一下文件。"},{"role":"user","content":"```python\ndef total(rows):\n    return sum(r.count for r in rows)\n```\n返回值应当是 dict，例如 {\"A01\": 12, \"B02\": 7}。"}],"extra":{"scene":"agent","lang":"python","repoInfo":{"gitUrl":"https://gitee.example/zhaomin/kucun.git","gitBranch":"feature/ruku","commitId":"5f2c1d7be09a48136f4dc2a7719be0358d66a1c4","userEmail":"zhaomin@kucun.example.net"},"ide":{"ideName":"IntelliJ IDEA","ideVer":"2026.2.1","pluginVer":"3.8.1"}}}"##;

const REPORT: &str = r#"{"appKey":"qm-idea","common":{"deviceId":"4b1d0e97c6a2583f7709be14d2c85a36","mid":"f09c6d21-4e7b-4a58-93d0-1b62c8e7a5f4","installId":"7205519384406217732","userName":"zhaomin","realName":"赵敏","corpId":"corp_90217aa4","computerName":"ZHAOMIN-PC","os":"Windows","osVer":"10.0.26100","cpuModel":"Intel(R) Core(TM) i7-13700H","cpuNum":20,"memSize":34091302912,"gpuName":"NVIDIA GeForce RTX 4060 Laptop GPU","resolution":"2560x1600","macAddr":"3C-21-9C-5E-80-F7","localIp":"192.168.31.107","tz":"Asia/Urumqi","tzOffset":360,"lang":"zh-CN","city":"乌鲁木齐","diskSn":"S6XNNS0W412077","bluetooth":true},"events":[{"name":"plugin_start","ts":1763798700123,"cost":842,"success":true},{"name":"completion_show","ts":1763798733500,"cost":120,"lines":4,"language":"python","model":"qingmei-fast"}]}"#;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":1,"clientInfo":{"name":"qm-agent","version":"3.8.1"},"capabilities":{"fs":{"readTextFile":true,"writeTextFile":true},"terminal":true},"workspaceFolders":[{"uri":"file:///D:/work/kucun","name":"kucun"}],"sysInfo":{"osName":"Windows 11","osArch":"x86_64","hostName":"ZHAOMIN-PC","homeDir":"C:\\Users\\zhaomin","shellPath":"C:\\Program Files\\PowerShell\\7\\pwsh.exe","nodeVersion":"v22.20.0","totalMem":34091302912,"cpus":20},"proxy":"http://10.20.0.8:3128"}}"#;

const OPENED: &str = r#"{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"languageId":"python","version":1,"text":"import argparse\n\nDEFAULT_HOST = \"localhost\"\nDEFAULT_PORT = 8080\n\n\ndef parse():\n    parser = argparse.ArgumentParser()\n    parser.add_argument(\"--host\", default=DEFAULT_HOST)\n    parser.add_argument(\"--tz\", help=\"such as Asia/Shanghai\")\n    return parser.parse_args()\n"}}}"#;

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"tools":[{"name":"run_command","description":"Runs a command in the shell. The working directory is the root of the workspace.","inputSchema":{"type":"object","properties":{"command":{"type":"string"},"cwd":{"type":"string","description":"Absolute path, for example /home/user/project"},"timeout":{"type":"integer","default":30}}}}]}}"#;

const LOGS: &str = concat!(
    r#"{"__topic__":"perf","__time__":1763798740,"level":"INFO","msg":"index built","files":214,"ms":933}"#,
    "\n",
    r#"{"__topic__":"env","__time__":1763798741,"level":"INFO","uid":"2088714093365521","nick":"zhaomin","machine_name":"ZHAOMIN-PC","sys_lang":"zh_CN","time_zone":"Asia/Urumqi","java":"21.0.5+11-b631","project_path":"D:\\work\\kucun"}"#,
    "\n",
    r#"{"__topic__":"err","__time__":1763798742,"level":"ERROR","msg":"java.nio.file.NoSuchFileException: C:\\Users\\zhaomin\\.qingmei\\cache\\index.bin","thread":"pool-3-thread-1"}"#,
    "\n",
);

fn qingmei() -> Vec<Sent> {
    vec![
        Sent {
            line: ("POST", "/api/v1/agent/chat", "api.qingmei-ai.example"),
            fields: vec![
                ("host", "api.qingmei-ai.example"),
                ("user-agent", "QingMei/3.8.1 (IntelliJ IDEA 2026.2.1; Windows 11 10.0; amd64) okhttp/4.12.0"),
                ("authorization", "Bearer qm-8d02f4c1b7e94a63a5d0c37e1f9b2648"),
                ("x-qm-did", "4b1d0e97c6a2583f7709be14d2c85a36"),
                ("x-qm-uid", "2088714093365521"),
                ("x-qm-ver", "3.8.1"),
                ("x-qm-tz", "Asia/Urumqi"),
                ("x-qm-host", "ZHAOMIN-PC"),
                ("accept-language", "zh-CN,zh;q=0.9"),
                ("content-type", "application/json; charset=utf-8"),
            ],
            parts: vec![Part::Document(CHAT.into())],
            planted: &[
                ("os.name", "header:/user-agent"),
                ("sw.client_version", "header:/user-agent"),
                ("os.arch", "header:/user-agent"),
                ("secret.bearer", "header:/authorization"),
                ("id.device", "header:/x-qm-did"),
                ("id.account", "header:/x-qm-uid"),
                ("sw.client_version", "header:/x-qm-ver"),
                ("tz.iana", "header:/x-qm-tz"),
                ("host.name", "header:/x-qm-host"),
                ("locale.accept_language", "header:/accept-language"),
                ("id.session", "body!json:/convId"),
                ("os.version|os.name|os.distro", "body!json:/messages/0/content"),
                ("user.name", "body!json:/messages/0/content"),
                ("host.name", "body!json:/messages/0/content"),
                ("path.cwd", "body!json:/messages/0/content"),
                ("path.home", "body!json:/messages/0/content"),
                ("env.shell|env.term", "body!json:/messages/0/content"),
                ("time.local", "body!json:/messages/0/content"),
                ("tz.offset", "body!json:/messages/0/content"),
                ("git.branch", "body!json:/messages/0/content"),
                ("git.remote", "body!json:/messages/0/content"),
                ("git.remote", "body!json:/extra/repoInfo/gitUrl"),
                ("git.branch", "body!json:/extra/repoInfo/gitBranch"),
                ("git.commit", "body!json:/extra/repoInfo/commitId"),
                ("user.email|git.email", "body!json:/extra/repoInfo/userEmail"),
                ("env.editor", "body!json:/extra/ide/ideName"),
                ("env.editor|sw.client_version", "body!json:/extra/ide/ideVer"),
                ("sw.client_version", "body!json:/extra/ide/pluginVer"),
            ],
        },
        Sent {
            line: ("POST", "/beacon/report", "log.qingmei-ai.example"),
            fields: vec![("host", "log.qingmei-ai.example"), ("content-type", "application/x-www-form-urlencoded")],
            parts: vec![Part::Document(format!("v=2&data={}&ts=1763798740000&cnt=2", form_value(REPORT)).into())],
            planted: &[
                ("id.device", "body!form:/data!json:/common/deviceId"),
                ("id.device|host.machine_id", "body!form:/data!json:/common/mid"),
                ("id.install", "body!form:/data!json:/common/installId"),
                ("user.name", "body!form:/data!json:/common/userName"),
                ("user.fullname", "body!form:/data!json:/common/realName"),
                ("id.org", "body!form:/data!json:/common/corpId"),
                ("host.name", "body!form:/data!json:/common/computerName"),
                ("os.name", "body!form:/data!json:/common/os"),
                ("os.version", "body!form:/data!json:/common/osVer"),
                ("hw.cpu", "body!form:/data!json:/common/cpuModel"),
                ("hw.cores", "body!form:/data!json:/common/cpuNum"),
                ("hw.mem", "body!form:/data!json:/common/memSize"),
                ("hw.gpu", "body!form:/data!json:/common/gpuName"),
                ("hw.screen", "body!form:/data!json:/common/resolution"),
                ("net.mac", "body!form:/data!json:/common/macAddr"),
                ("net.ip.local", "body!form:/data!json:/common/localIp"),
                ("tz.iana", "body!form:/data!json:/common/tz"),
                ("tz.offset", "body!form:/data!json:/common/tzOffset"),
                ("locale.bcp47", "body!form:/data!json:/common/lang"),
                ("geo.city", "body!form:/data!json:/common/city"),
                ("host.serial", "body!form:/data!json:/common/diskSn"),
            ],
        },
        Sent {
            line: (
                "GET",
                "/api/upgrade/check?mid=f09c6d21-4e7b-4a58-93d0-1b62c8e7a5f4&uid=2088714093365521&os=windows&osv=10.0.26100&arch=x64&ver=3.8.1&lang=zh_CN&host=ZHAOMIN-PC&ch=stable&pkg=idea&rollout=37",
                "api.qingmei-ai.example",
            ),
            fields: vec![("host", "api.qingmei-ai.example"), ("user-agent", "okhttp/4.12.0")],
            parts: vec![Part::Head],
            planted: &[
                ("id.device|host.machine_id", "query!form:/mid"),
                ("id.account", "query!form:/uid"),
                ("os.name", "query!form:/os"),
                ("os.version", "query!form:/osv"),
                ("os.arch", "query!form:/arch"),
                ("sw.client_version", "query!form:/ver"),
                ("locale.bcp47|locale.posix", "query!form:/lang"),
                ("host.name", "query!form:/host"),
            ],
        },
        Sent {
            line: ("GET", "/ws/acp?token_type=web", "ws.qingmei-ai.example"),
            fields: vec![
                ("host", "ws.qingmei-ai.example"),
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-key", "x3JJHMbDL1EzLkh9GBhXDw=="),
                ("sec-websocket-version", "13"),
                (
                    "cookie",
                    "qm_uid=2088714093365521; qm_device=4b1d0e97c6a2583f7709be14d2c85a36; qm_lang=zh-CN; theme=dark",
                ),
                ("x-qm-guid", "f09c6d21-4e7b-4a58-93d0-1b62c8e7a5f4"),
            ],
            parts: messages(&[INITIALIZE, OPENED, TOOLS]),
            planted: &[
                ("id.account", "header:/cookie!cookie:/qm_uid"),
                ("id.device", "header:/cookie!cookie:/qm_device"),
                ("locale.bcp47", "header:/cookie!cookie:/qm_lang"),
                ("id.device", "header:/x-qm-guid"),
                ("sw.client_version", "ws:/0!json:/params/clientInfo/version"),
                ("path.project|path.cwd", "ws:/0!json:/params/workspaceFolders/0/uri"),
                ("os.name|os.version", "ws:/0!json:/params/sysInfo/osName"),
                ("os.arch", "ws:/0!json:/params/sysInfo/osArch"),
                ("host.name", "ws:/0!json:/params/sysInfo/hostName"),
                ("path.home", "ws:/0!json:/params/sysInfo/homeDir"),
                ("env.shell", "ws:/0!json:/params/sysInfo/shellPath"),
                ("sw.runtime", "ws:/0!json:/params/sysInfo/nodeVersion"),
                ("hw.mem", "ws:/0!json:/params/sysInfo/totalMem"),
                ("hw.cores", "ws:/0!json:/params/sysInfo/cpus"),
                ("net.proxy", "ws:/0!json:/params/proxy"),
            ],
        },
        Sent {
            line: ("POST", "/logstores/qm-client/track", "sls.qingmei-ai.example"),
            fields: vec![("host", "sls.qingmei-ai.example"), ("content-type", "application/x-ndjson")],
            parts: vec![Part::Document(LOGS.into())],
            planted: &[
                ("id.account", "body!lines:/1!json:/uid"),
                ("user.name", "body!lines:/1!json:/nick"),
                ("host.name", "body!lines:/1!json:/machine_name"),
                ("locale.posix|locale.bcp47", "body!lines:/1!json:/sys_lang"),
                ("tz.iana", "body!lines:/1!json:/time_zone"),
                ("sw.runtime", "body!lines:/1!json:/java"),
                ("path.project|path.cwd", "body!lines:/1!json:/project_path"),
                ("path.home|user.name|path.project", "body!lines:/2!json:/msg"),
            ],
        },
    ]
}

#[test]
fn a_client_of_a_chinese_vendor_is_read_without_a_pack() {
    check("qingmei", qingmei());
}

//! Files of projects that nobody has: manifests, pipelines, dumps, tables.

use super::{Decoy, lists, other_address, own};
use crate::document::prose;
use crate::machine::Known;
use crate::random::Rng;

pub const DECOYS: &[(&str, Decoy)] = &[
    ("package manifest", package_manifest),
    ("npm lock", npm_lock),
    ("pipeline", pipeline),
    ("compose file", compose_file),
    ("cluster manifest", cluster_manifest),
    ("SQL dump", sql_dump),
    ("zone table", zone_table),
    ("translations", translations),
    ("allow list", allow_list),
    ("test fixtures", test_fixtures),
    ("infrastructure code", infrastructure),
    ("editor settings", editor_settings),
    ("configuration", configuration),
    ("API description", api_description),
    ("spreadsheet", spreadsheet),
];

fn package_manifest(rng: &mut Rng, _: &[Known]) -> String {
    let (name, author) = (rng.coined(3), rng.coined(3));
    format!(
        "{{\n  \"name\": \"@{name}/web\",\n  \"version\": \"0.{}.1\",\n  \"author\": \"{author} <{author}@people.example.net>\",\n  \
         \"repository\": {{ \"type\": \"git\", \"url\": \"git+https://github.com/{author}/{name}.git\" }},\n  \"main\": \"dist/main.js\",\n  \
         \"scripts\": {{ \"dev\": \"vite\", \"build\": \"tsc -b && vite build\", \"test\": \"vitest run\" }},\n  \"engines\": {{ \"node\": \">=20.{}.0\", \"pnpm\": \"^9\" }},\n  \
         \"os\": [\"darwin\", \"linux\", \"win32\"],\n  \"cpu\": [\"x64\", \"arm64\"],\n  \"browserslist\": [\"last 8 versions\"],\n  \"packageManager\": \"pnpm@9.12.{}\"\n}}",
        rng.between(1, 40),
        rng.between(1, 18),
        rng.below(9)
    )
}

fn npm_lock(rng: &mut Rng, _: &[Known]) -> String {
    let entries: Vec<String> = (0..rng.between(3, 10))
        .map(|_| {
            let name = rng.coined(3);
            let version = format!("{}.{}.{}", rng.below(20), rng.below(30), rng.below(30));
            format!(
                "    \"node_modules/{name}\": {{\n      \"version\": \"{version}\",\n      \"resolved\": \"https://registry.npmjs.org/{name}/-/{name}-{version}.tgz\",\n      \
                 \"integrity\": \"sha512-{}==\",\n      \"dev\": true,\n      \"engines\": {{ \"node\": \">= 0.8\" }}\n    }}",
                rng.letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 86)
            )
        })
        .collect();
    format!("{{\n  \"lockfileVersion\": 3,\n  \"packages\": {{\n{}\n  }}\n}}", entries.join(",\n"))
}

fn pipeline(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "on:\n  push:\n    branches: [main]\n  schedule:\n    - cron: '0 8 * * 1'\nenv:\n  TZ: UTC\n  LANG: en_US.UTF-8\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    defaults:\n      run:\n        shell: bash\n    steps:\n      - uses: actions/checkout@v4\n      - run: make -j8 test\n",
        "image: node:20-bookworm\nvariables:\n  GIT_DEPTH: 8\n  HOME: /builds/cache\nstages: [lint, test, deploy]\ntest:\n  stage: test\n  script:\n    - npm ci\n    - npm test\n  only:\n    - main\n    - dev\n",
        "pipeline {\n  agent { label 'linux && x86_64' }\n  environment { SHELL = '/bin/bash'; LC_ALL = 'C.UTF-8' }\n  stages { stage('Build') { steps { sh 'bash build.sh' } } }\n}",
        "version: 2.1\njobs:\n  build:\n    docker:\n      - image: cimg/rust:1.80\n        environment: { USER: circleci, TERM: xterm-256color }\n    steps: [checkout, run: cargo test]\n",
        "FROM ubuntu:24.04\nENV TZ=Etc/UTC LANG=en_US.UTF-8 SHELL=/bin/bash\nRUN useradd -m -s /bin/bash -u 1000 dev && mkdir -p /home/dev/app\nUSER dev\nWORKDIR /home/dev/app\nCMD [\"bash\"]\n",
    ];
    let first = rng.pick(&list);
    format!("# {}\n{first}", prose(rng))
}

fn compose_file(rng: &mut Rng, _: &[Known]) -> String {
    let n = rng.between(2, 9);
    format!(
        "services:\n  db:\n    image: postgres:16.{n}\n    hostname: db\n    environment:\n      POSTGRES_USER: dev\n      POSTGRES_DB: main\n      TZ: Europe/London\n    ports: [\"127.0.0.1:5432:5432\"]\n    networks:\n      back:\n        ipv4_address: 172.28.{n}.{n}\n  \
         web:\n    build: .\n    container_name: {}\n    user: \"1000:1000\"\n    cpus: 8\n    mem_limit: 512m\n    volumes:\n      - ./src:/srv/app\n    mac_address: 02:42:ac:1c:0{n}:0{n}\nnetworks:\n  back:\n    ipam:\n      config: [{{ subnet: 172.28.{n}.0/24, gateway: 172.28.{n}.1 }}]\n",
        rng.coined(3)
    )
}

fn cluster_manifest(rng: &mut Rng, _: &[Known]) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: dev\n  uid: {}\n  resourceVersion: \"{}\"\n  labels: {{ app: {name}, tier: main }}\nspec:\n  replicas: 8\n  template:\n    spec:\n      nodeSelector: {{ kubernetes.io/arch: amd64, kubernetes.io/os: linux }}\n      \
         hostname: {name}-0\n      containers:\n        - name: main\n          image: registry.example.com/{name}@sha256:{}\n          env:\n            - {{ name: TZ, value: UTC }}\n            - {{ name: HOME, value: /var/lib/{name} }}\n          resources: {{ limits: {{ cpu: \"8\", memory: 4Gi }} }}\nstatus:\n  hostIP: 10.{}.0.{}\n  podIP: 10.244.{}.{}\n",
        rng.uuid(),
        rng.between(100_000, 9_999_999),
        rng.hex(64),
        rng.between(1, 30),
        rng.between(3, 250),
        rng.below(9),
        rng.between(3, 250),
        name = rng.clone().coined(3),
    )
}

fn sql_dump(rng: &mut Rng, _: &[Known]) -> String {
    let mut out = "-- PostgreSQL database dump\nSET timezone = 'UTC';\nSET client_encoding = 'UTF8';\nCOPY public.users (id, login, email, locale, timezone, last_ip, created_at) FROM stdin;\n".to_owned();
    for _ in 0..rng.between(3, 14) {
        let login = rng.coined(3);
        out.push_str(&format!(
            "{}\t{login}\t{login}@people.example.net\t{}\t{}\t203.0.113.{}\t2026-0{}-{:02} 10:11:12+00\n",
            rng.uuid(),
            rng.pick(&["en_US", "fr_FR", "it_IT", "ko_KR"]),
            rng.pick(&["Africa/Cairo", "America/Toronto", "Asia/Dubai", "Europe/Madrid"]),
            rng.between(1, 250),
            rng.between(1, 9),
            rng.between(1, 28)
        ));
    }
    out + "\\.\n"
}

/// Every zone with its offset and abbreviations, the machine's own among them.
fn zone_table(rng: &mut Rng, facts: &[Known]) -> String {
    let mut rows: Vec<String> = lists::ZONES.iter().map(|zone| (*zone).to_owned()).collect();
    rows.push(own(facts, "tz.iana").to_owned());
    rows.sort();
    let offset =
        |rng: &mut Rng| format!("{}{:02}:{}", rng.pick(&["+", "-"]), rng.below(13), rng.pick(&["00", "30", "45"]));
    let rows: Vec<String> = match rng.below(4) {
        0 => {
            rows.iter().map(|zone| format!("  {{ value: '{zone}', label: '(UTC{}) {zone}' }},", offset(rng))).collect()
        }
        1 => rows.iter().map(|zone| format!("    \"{zone}\" => Some({}),", rng.between(0, 50_000))).collect(),
        2 => rows
            .iter()
            .map(|zone| format!("XX\t+4230+00131\t{zone}\t{}", rng.pick(&["CST", "CET", "PKT", "most areas"])))
            .collect(),
        _ => rows.iter().map(|zone| format!("ZoneInfo('{zone}'),")).collect(),
    };
    format!("// Zones that the picker offers\n{}\n", rows.join("\n"))
}

fn translations(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "{\n  \"de\": { \"timezone\": \"Zeitzone\", \"user\": \"Benutzer\", \"host\": \"Rechner\", \"language\": \"Deutsch\" },\n  \"uk\": { \"timezone\": \"Часовий пояс\", \"user\": \"Користувач\", \"language\": \"Українська\" },\n  \"pt-BR\": { \"timezone\": \"Fuso horário\", \"user\": \"Usuário\", \"language\": \"Português\" }\n}",
        "#: src/app.ts:8\nmsgid \"Host name\"\nmsgstr \"Rechnername\"\n\n#, fuzzy\nmsgid \"Your branch is main\"\nmsgstr \"Ihr Zweig ist main\"\n\"Language: de\\n\"\n\"Last-Translator: Robin <robin@people.example.net>\\n\"",
        "export const locales = { en: 'English', de: 'Deutsch', fr: 'Français', ja: '日本語', zh: '中文', es: 'Español', fa: 'فارسی', sr: 'Српски', vi: 'Tiếng Việt' };\nexport const fallback = 'en-US';",
        "<string name=\"greeting\">Bonjour %1$s</string>\n<string name=\"locale\">fr</string>\n<string name=\"country\">France</string>\n<string name=\"shell\">Coque</string>",
    ];
    rng.pick(&list).to_owned()
}

fn allow_list(rng: &mut Rng, facts: &[Known]) -> String {
    let rows: Vec<String> = (0..rng.between(4, 20))
        .map(|_| {
            let ip = other_address(rng, facts);
            match rng.below(4) {
                0 => format!("allow {ip};"),
                1 => format!("| {ip} | office {} | {} |", rng.coined(2), rng.pick(&["yes", "no"])),
                2 => format!("  - cidr: {ip}/32  # {}", rng.coined(2)),
                _ => format!("iptables -A INPUT -s {ip} -p tcp --dport 22 -j ACCEPT"),
            }
        })
        .collect();
    format!("## Allowed addresses\n\n{}\n", rows.join("\n"))
}

fn test_fixtures(rng: &mut Rng, _: &[Known]) -> String {
    let (a, b) = (rng.coined(3), rng.coined(3));
    let list = [
        format!(
            "users:\n  - {{ id: {}, name: {a}, email: {a}@people.example.net, role: admin, shell: /bin/sh }}\n  - {{ id: {}, name: {b}, email: {b}@people.example.org, home: /home/{b} }}\n",
            rng.uuid(),
            rng.uuid()
        ),
        format!(
            "it('reads the profile', async () => {{\n  nock('https://api.example.com').get('/me').reply(200, {{ login: '{a}', email: '{a}@people.example.net', timezone: 'Africa/Cairo', hostname: '{b}-mac' }});\n  expect(await me()).toMatchObject({{ login: '{a}' }});\n}});"
        ),
        format!(
            "@pytest.fixture\ndef env(monkeypatch):\n    monkeypatch.setenv('HOME', '/home/{a}')\n    monkeypatch.setenv('USER', '{a}')\n    monkeypatch.setenv('TZ', 'America/Bogota')\n    monkeypatch.setattr(socket, 'gethostname', lambda: '{b}')\n    monkeypatch.setattr(os, 'cpu_count', lambda: 8)\n"
        ),
        format!(
            "let head = \"User-Agent: test\\r\\nX-Device-Id: {}\\r\\nCookie: session={}\\r\\n\";\nassert_eq!(parse(head).device, Some(\"{}\"));",
            rng.uuid(),
            rng.hex(32),
            rng.hex(16)
        ),
    ];
    list[rng.below(list.len())].clone()
}

fn infrastructure(rng: &mut Rng, facts: &[Known]) -> String {
    let ip = other_address(rng, facts);
    let list = [
        format!(
            "resource \"aws_instance\" \"main\" {{\n  ami = \"ami-{}\"\n  private_ip = \"{ip}\"\n  availability_zone = \"eu-west-1a\"\n  cpu_core_count = 8\n  tags = {{ Name = \"dev\", Owner = \"{}\" }}\n}}",
            rng.hex(17),
            rng.coined(3)
        ),
        format!(
            "[web]\nweb-1.example.net ansible_host={ip} ansible_user=deploy ansible_python_interpreter=/usr/bin/python3\n[all:vars]\ntimezone=Etc/UTC\nlocale=en_US.UTF-8\n"
        ),
        format!(
            "Host bastion\n  HostName {ip}\n  User {}\n  IdentityFile ~/.ssh/id_ed25519\n  ProxyJump jump.example.net\n",
            rng.coined(3)
        ),
        format!(
            "- hosts: all\n  tasks:\n    - name: set the zone\n      community.general.timezone: {{ name: Asia/Dubai }}\n    - name: set the host name\n      hostname: {{ name: {}-01 }}\n",
            rng.coined(2)
        ),
    ];
    list[rng.below(list.len())].clone()
}

fn editor_settings(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "{ \"editor.tabSize\": 8, \"terminal.integrated.defaultProfile.linux\": \"bash\", \"terminal.integrated.shell.osx\": \"/bin/zsh\", \"git.defaultBranchName\": \"main\", \"workbench.colorTheme\": \"Dark\" }",
        "# .bashrc\nexport PAGER=less\nexport LANG=en_US.UTF-8\nexport TERM=xterm-256color\nalias ll='ls -l'\n[ -f ~/.fzf.bash ] && source ~/.fzf.bash\n",
        "[user]\n\tname = Your Name\n\temail = you@example.com\n[init]\n\tdefaultBranch = main\n[core]\n\teditor = code --wait\n",
        "root = true\n[*]\nindent_style = space\nindent_size = 8\ncharset = utf-8\nend_of_line = lf\n",
        "set -g default-terminal \"tmux-256color\"\nset -g default-shell /bin/zsh\n",
    ];
    rng.pick(&list).to_owned()
}

fn configuration(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        format!("[database]\nhost = \"localhost\"\nuser = \"dev\"\nname = \"main\"\npool = 8\n\n[log]\nlevel = \"info\"\ndir = \"/var/log/{}\"\n", rng.coined(3)),
        "spring.datasource.username=dev\nspring.profiles.active=dev\nserver.address=0.0.0.0\nuser.timezone=UTC\nuser.language=en\n".to_owned(),
        "DATABASE_URL=postgres://dev:dev@localhost:5432/main\nTZ=UTC\nLANG=C\nNODE_ENV=development\nHOST=0.0.0.0\nWORKERS=8\n".to_owned(),
        format!("worker_processes 8;\nuser www-data;\nserver {{ server_name {}.example.net; root /srv/www; }}", rng.coined(3)),
    ];
    list[rng.below(list.len())].clone()
}

fn api_description(rng: &mut Rng, _: &[Known]) -> String {
    let id = rng.uuid();
    let list = [
        format!(
            "openapi: 3.1.0\npaths:\n  /devices/{{device_id}}:\n    get:\n      parameters:\n        - {{ name: device_id, in: path, example: {id} }}\n        - {{ name: timezone, in: query, schema: {{ type: string, default: UTC, enum: [UTC, Asia/Dubai, Europe/Madrid] }} }}\n        - {{ name: locale, in: query, example: fr-FR }}\n"
        ),
        format!(
            "message Host {{\n  string hostname = 1;  // e.g. \"web-01\"\n  string arch = 2;      // x86_64, aarch64\n  string os = 3;        // linux, darwin, windows\n  int32 cpu_cores = 4;  // e.g. 8\n  string machine_id = 5; // {}\n}}",
            rng.hex(32)
        ),
        format!(
            "curl -H 'Accept-Language: fr-CH, fr;q=0.9' -H 'X-Timezone: Asia/Dubai' -H 'X-Device-Id: {id}' https://api.example.com/v1/me\n# => {{\"user\":\"robin\",\"host\":\"web-01\"}}"
        ),
    ];
    list[rng.below(list.len())].clone()
}

fn spreadsheet(rng: &mut Rng, _: &[Known]) -> String {
    let rows: Vec<String> = (0..rng.between(4, 20))
        .map(|_| {
            format!(
                "{},{},{},{},{}",
                rng.coined(3),
                rng.pick(&["laptop", "desktop", "server", "tablet"]),
                rng.pick(&["linux", "windows", "macos"]),
                rng.pick(&["4", "8", "16"]),
                rng.pick(&["DE", "FR", "US", "CN", "BR"])
            )
        })
        .collect();
    format!("owner,type,os,cores,country\n{}\n", rows.join("\n"))
}

//! Texts full of characters that nobody sees or that look like others, all of them in their place.

use crate::document::prose;
use crate::random::Rng;

type Texts = &'static [&'static str];

pub const CLEAN: &[(&str, Texts)] = &[
    (
        "Ukrainian",
        &[
            "Об\u{2019}єкт п\u{2bc}ятий, сім'я, м\u{2019}яч і з\u{2bc}їзд: усе в порядку.",
            "Під\u{2019}єднай HTTP-клієнт, онови README.md і перевір JSON-відповідь.",
            "У цьому pull request я додав тест для комп\u{2bc}ютера з Windows 11.",
        ],
    ),
    (
        "Russian",
        &[
            "Обнови конфиг для k8s-кластера и перезапусти nginx, лог приложи к тикету.",
            "В API-запросе нужен заголовок Content-Type; IP-адрес берётся из X-Forwarded-For.",
            "Оплата через PayPal'ом не прошла, USB-порт занят, Wi-Fi роутер перезагружен.",
            "Сделай code-ревью, закоммить в git-репозиторий и открой PR'ы на GitHub'е.",
            "3D-модель, 2х2, 5G-сеть, Х-образный разъём, C#-код и С++ рядом.",
        ],
    ),
    (
        "other Cyrillic",
        &[
            "Ћирилица и latinica у истом тексту: Београд, Beograd, Нови Сад.",
            "Қазақстан Республикасы, Алматы қаласы; ә, ғ, қ, ң, ө, ұ, ү, һ, і.",
            "Моля, провери SQL-заявката и Docker контейнера в Пловдив.",
            "Беларусь: пад\u{2019}езд, аб\u{2019}ява; Ў і ў.",
        ],
    ),
    (
        "French",
        &[
            "Attention\u{202f}: le prix est de 12\u{202f}500,50\u{a0}€\u{202f}; voir «\u{a0}Conditions\u{a0}»\u{202f}!",
            "L\u{2019}utilisateur n\u{2019}a pas d\u{2019}accès\u{2009}; qu\u{2019}en pensez-vous\u{202f}?",
        ],
    ),
    (
        "German and Nordic",
        &[
            "Die Do\u{ad}nau\u{ad}dampf\u{ad}schiff\u{ad}fahrt, z.\u{202f}B. am 3.\u{a0}Mai, kostet 5\u{2009}%.",
            "„Größe“ – so heißt das Feld; ‚Straße‘ ist daneben. Ærlig talt, søsteren på øya.",
        ],
    ),
    (
        "English typography",
        &[
            "It\u{2019}s \u{201c}done\u{201d}\u{2014}or is it\u{2026}? The \u{2018}90s weren\u{2019}t 5\u{2032}\u{2009}11\u{2033} tall\u{2013}ish.",
            "Non\u{2011}breaking hyphens, pages 10\u{2013}20, 3\u{a0}kg, \u{bd} cup, \u{2116}\u{a0}5, \u{a7}\u{a0}4, \u{2122} and \u{a9}\u{a0}2026.",
            "e\u{fb03}cient \u{fb02}ow, o\u{fb03}ce hours; \u{2020} see note \u{2021}.",
        ],
    ),
    (
        "Persian",
        &[
            "می\u{200c}خواهم نرم\u{200c}افزارها را به\u{200c}روز کنم؛ خطای HTTP\u{200c}ها را ببین.",
            "کتاب\u{200c}هایشان را نمی\u{200c}یابم، API\u{200c}های قدیمی حذف شده\u{200c}اند.",
        ],
    ),
    (
        "Arabic and Urdu",
        &[
            "افتح الملف config.json\u{200e} ثم شغّل الأمر npm run build\u{200f}.",
            "\u{200f}السعر 100 \u{200e}USD\u{200f} فقط، والرابط \u{2066}https://example.com/a\u{2069} يعمل.",
            "یہ پروگرام C++\u{200e} میں لکھا گیا ہے۔ العـــــربية",
        ],
    ),
    (
        "Hebrew",
        &[
            "\u{200f}שלום! הקובץ main.rs\u{200e} לא נמצא.\u{200f}",
            "בְּרֵאשִׁית \u{2067}טקסט\u{2069} עם git push\u{200e} בסוף",
            "\u{202b}פסקה שלמה מימין לשמאל\u{202c} ואחריה עוד",
        ],
    ),
    (
        "Indic",
        &[
            "क्\u{200d}ष और श्\u{200d}री, राम\u{200c}लाल; हिन्दी में API दस्तावेज़।",
            "র\u{200d}্যাব, উদ্\u{200c}ঘাটন, বাংলা কোড",
            "ಅರ್\u{200d}ಥ ರ\u{200d}್ಯ, ಕನ್ನಡ",
            "അവന്\u{200d} പറഞ്ഞു, നന്\u{200d}മ; ශ්\u{200d}රී ලංකාව",
            "தமிழ் \u{200b}உரை మరియు తెలుగు\u{200c}లో",
        ],
    ),
    (
        "South-East Asian",
        &[
            "ภาษา\u{200b}ไทย\u{200b}ไม่\u{200b}มี\u{200b}ช่อง\u{200b}ว่าง",
            "ភាសា\u{200b}ខ្មែរ\u{200b}ល្អ",
            "မြန်မာ\u{200b}ဘာသာ ພາສາ\u{200b}ລາວ",
            "Tiếng Việt: Nguyễn Văn Đức sửa lỗi ở máy chủ, đường Lê Lợi, Đà Nẵng",
        ],
    ),
    (
        "Chinese",
        &[
            "请把\u{201c}用户名\u{201d}改成\u{2018}昵称\u{2019}，并更新API文档（第３章）。ＯＫ？",
            "使用Vue3和TypeScript开发，端口８０８０，版本Ｖ２。——完成……",
            "邊\u{e0100}緣、葛\u{e0101}飾：異體字",
        ],
    ),
    (
        "Japanese",
        &[
            "ＡＰＩキーを設定し、ログインＩＤとパスワードを確認してください。",
            "全角スペース\u{3000}を半角に。ﾃｽﾄ用のﾃﾞｰﾀ、Ｗｅｂサイト、Ｅメール、Ｔシャツ。",
            "辻\u{e0101}さん、芦\u{e0100}屋市、Ｎｏ．１、㈱、①②③",
        ],
    ),
    (
        "Korean",
        &[
            "서버에서 API를 호출하면 HTTP 500이 납니다. ‘확인’ 버튼을 눌러 주세요.",
            "한글 ㄱㄴㄷ ㅋㅋㅋ ㅠㅠ \u{1112}\u{1161}\u{11ab}",
        ],
    ),
    (
        "other scripts",
        &[
            "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ\u{180c} ᠠ\u{180e}ᠠ",
            "Ελληνικά: άνοιξε το αρχείο README και τρέξε το docker compose.",
            "Հայերեն տեքստ և API, ქართული ენა JSON-ით, አማርኛ",
            "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
        ],
    ),
    (
        "emoji",
        &[
            "👨\u{200d}👩\u{200d}👧\u{200d}👦 🏳\u{fe0f}\u{200d}🌈 👩🏽\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 🧑\u{200d}🤝\u{200d}🧑 👁\u{fe0f}\u{200d}🗨\u{fe0f}",
            "1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3} *\u{fe0f}\u{20e3} ©\u{fe0f} ™\u{fe0f} ☎\u{fe0e} ✔\u{fe0f} ⚠\u{fe0f} ℹ\u{fe0f} ↔\u{fe0f} ▶\u{fe0f}",
            "✅ done, ❌ failed, 🚀 ship it, 👍🏿 ok, 🐈\u{200d}⬛ 🐻\u{200d}❄\u{fe0f} 🙂\u{200d}↔\u{fe0f}",
            "## ⚙\u{fe0f} Setup\n\n- [🛠\u{fe0f} Build](#\u{fe0f}-build)\n- ✍🏻 notes",
        ],
    ),
    (
        "flags",
        &[
            "🇺🇦 🇩🇪 🇯🇵 🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} 🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} 🏴\u{200d}☠\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f} 🏴\u{e0075}\u{e0073}\u{e0074}\u{e0078}\u{e007f} 🏴\u{e0063}\u{e0061}\u{e0071}\u{e0063}\u{e007f} 🏳\u{fe0f}\u{200d}⚧\u{fe0f}",
        ],
    ),
    (
        "faces",
        &[
            "¯\\_(ツ)_/¯ (╯°□°)╯︵ ┻━┻ ಠ_ಠ ლ(ಠ益ಠლ) ʕ•ᴥ•ʔ ( ͡° ͜ʖ ͡°) ༼ つ ◕_◕ ༽つ",
            "(´･ω･`) Σ(ﾟДﾟ) щ(ﾟДﾟщ) ヽ(•̀ω•́ )ゝ (o˘д˘)o (｡◕‿◕｡) (ꈍᴗꈍ)",
        ],
    ),
    (
        "decomposed",
        &[
            "re\u{301}sume\u{301}.pdf Mu\u{308}ller.txt a\u{30a}ngstro\u{308}m か\u{3099}く.md",
            " M docs/U\u{308}bersicht.md\n?? images/cafe\u{301} (1).png\n?? Vie\u{323}\u{302}t.txt",
        ],
    ),
    (
        "mathematics",
        &[
            "∀x∈ℝ ∃δ>0: |f\u{2061}(x)−L|<ε; 2\u{2062}πr², a\u{2063}b, ∂u/∂t = α∇²u, Σᵢxᵢ, λ-calculus",
            "𝑓(𝑥) = 𝑎𝑥² + 𝑏𝑥; 𝔼[X] = μ, ℕ ⊂ ℤ; dx, d𝑥, xᵀAx, H₂O, CO₂, x̄, θ̂, ∩\u{fe00}",
            "Let Δt = t₁ − t₀, kΩ, μs, µm, Å, TNFα, NF-κB, β-carotene, γ-ray, π/2, χ²-test, σ-algebra",
        ],
    ),
    (
        "code in letters of all kinds",
        &[
            "let Δx = x1 - x0; let θ = 0.5; const π = Math.PI; fn λ(α: f64, β: f64) -> f64 { α * β }",
            "assert_eq!(\"pass\\u{200b}word\".len(), 11); // &zwnj; &#8203; \\u202e \\uFEFF",
            "re.sub(r'[\\u200b-\\u200f\\u202a-\\u202e]', '', text)  # strips zero-width and bidi controls",
            "var µ = 1e-6; ε = 1e-9; Σ += xᵢ; println(\"naïve façade\")",
        ],
    ),
    ("phonetics", &["/ˈtɛkst/ [ɡoʊ] θɪŋ ʃ ŋ ə ɑː ʔ t͡ʃ ɪˈnɪʃ(ə)l, Sanskrit: kṛṣṇa, Pinyin: lǜ, Yorùbá: ẹ̀kọ́"]),
    (
        "lettering",
        &[
            "𝐇𝐞𝐥𝐥𝐨 𝕨𝕠𝕣𝕝𝕕, 𝗕𝗼𝗹𝗱 announcement, ａｅｓｔｈｅｔｉｃ, Ⓗⓘ, ᴛɪɴʏ ᴄᴀᴘs, s̶t̶r̶i̶k̶e̶, H̷e̸",
            "Ⅳ. Kapitel, ⅷ, Ｎｏ.５, ＮＥＣ, ㎏, №7",
        ],
    ),
    (
        "boxes and terminals",
        &[
            "┌──┬──┐\n│ a│ b│\n└──┴──┘ ░▒▓█ ⠋⠙⠹ ✗ ✓ → ⇒ ➜  ~ git:(main) ✗",
            "\u{1b}[31mFAIL\u{1b}[0m src/app.test.ts \u{1b}[1m3 failed\u{1b}[22m\n\u{1b}]8;;https://example.com\u{7}link\u{1b}]8;;\u{7}",
            "Downloading\u{8}\u{8}\u{8} 10%\r 20%\r 100%\n\u{c}page two",
        ],
    ),
    (
        "byte order marks",
        &[
            "\u{feff}using System;\nnamespace App { class Main { } }",
            "\u{feff}id;name;amount\n1;Test;5",
            "    1\u{2192}\u{feff}<?xml version=\"1.0\"?>\n    2\u{2192}<root/>",
            "diff --git a/App.cs b/App.cs\n-\u{feff}using System;\n+using System;",
        ],
    ),
    (
        "copied from a page",
        &[
            "Click\u{a0}here\u{a0}to continue.\u{a0}\u{a0}Next\u{200b}\nhttps://example.com/\u{200b}very/\u{200b}long/\u{200b}path",
            "Name\u{2003}Amount\u{2003}Date\nTotal\u{2007}\u{2007}12\u{2003}\u{2003}today\u{2028}second line",
            "co\u{ad}op\u{ad}er\u{ad}a\u{ad}tion, hy\u{ad}phen\u{ad}ation; \u{fffc} image; \u{fffd} lost",
            "10\u{2060}\u{2013}\u{2060}20 pages; 100\u{2060}%; @\u{200b}everyone, #\u{200b}general",
            "\u{2022}\u{a0}first\n\u{2022}\u{a0}second\n\u{f0b7}\u{a0}third",
        ],
    ),
    (
        "wrongly decoded",
        &[
            "It\u{e2}\u{80}\u{99}s caf\u{c3}\u{a9} \u{c2}\u{a0}\u{c2}\u{bb} don\u{92}t \u{93}quote\u{94} \u{96} Stra\u{c3}\u{9f}e",
            "ÐŸÑ€Ð¸Ð²ÐµÑ‚, Ã¼ber, â‚¬5",
        ],
    ),
    (
        "translations",
        &[
            "{\"en\":\"Don\u{2019}t save\",\"fr\":\"N\u{2019}enregistrez pas\u{202f}!\",\"fa\":\"ذخیره نمی\u{200c}شود\",\"ru\":\"Не сохранять в PDF\",\"he\":\"אל תשמור\u{200f}\"}",
            "msgid \"Open file\"\nmsgstr \"Открыть файл «%s» в Google Chrome\"\n\nmsgid \"Users\"\nmsgstr \"Χρήστες\"",
        ],
    ),
];

/// One of the texts, alone or before or after plain prose.
pub fn text(rng: &mut Rng, texts: Texts) -> String {
    let text = rng.pick(texts);
    match rng.below(4) {
        0 => format!("{text}\n\n{}", prose(rng)),
        1 => format!("{}\n{text}\n", prose(rng)),
        2 => format!("- {text}\n- {}", rng.pick(texts)),
        _ => text.to_owned(),
    }
}

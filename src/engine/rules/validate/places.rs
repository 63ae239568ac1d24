//! Zones, languages and countries.

/// Names of the time zone database, sorted.
const IANA: &str = include_str!("../data/iana-zones.txt");
/// Names of the Windows registry, sorted.
const WINDOWS: &str = include_str!("../data/windows-zones.txt");

/// ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW \
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA \
    GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH \
    KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY \
    MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH \
    SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI \
    VN VU WF WS YE YT ZA ZM ZW";

/// ISO 639-1, and the three-letter codes that systems ship locales for.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee \
    el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu iw ja jv ka kg \
    ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny \
    oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to \
    tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu ast ckb csb dsb fil fur haw hsb kab kok mai nds scn yue";

/// `Asia/Shanghai`, `Etc/GMT-8`, in any case; not `UTC` and its names, which tell no place.
pub fn is_iana_zone(value: &str) -> bool {
    const NOWHERE: &[&str] = &[
        "utc",
        "gmt",
        "etc/utc",
        "etc/gmt",
        "zulu",
        "uct",
        "universal",
        "greenwich",
        "etc/zulu",
        "etc/uct",
        "etc/universal",
        "etc/greenwich",
        "etc/gmt0",
        "etc/gmt+0",
        "etc/gmt-0",
        "gmt0",
        "gmt+0",
        "gmt-0",
    ];
    let value = value.strip_prefix(':').unwrap_or(value);
    let value = value.rsplit_once("zoneinfo/").map_or(value, |(_, zone)| zone);
    if NOWHERE.contains(&value.to_ascii_lowercase().as_str()) {
        return false;
    }
    listed(IANA, value)
}

/// `China Standard Time`; not `UTC`.
pub fn is_windows_zone(value: &str) -> bool {
    value != "UTC" && listed(WINDOWS, value)
}

fn listed(list: &str, value: &str) -> bool {
    (2..=64).contains(&value.len()) && list.lines().any(|line| line.eq_ignore_ascii_case(value))
}

fn in_words(list: &str, value: &str) -> bool {
    list.split_ascii_whitespace().any(|word| word == value)
}

/// `CST`, `CEST`, `JST`. Not `UTC`, not `GMT`.
pub fn is_zone_abbr(value: &str) -> bool {
    const NAMES: &[&str] = &[
        "ACDT", "ACST", "ADT", "AEDT", "AEST", "AKDT", "AKST", "AST", "AWST", "BRT", "BST", "CAT", "CDT", "CEST",
        "CET", "CST", "EAT", "EDT", "EEST", "EET", "EST", "HKT", "HST", "ICT", "IDT", "IST", "JST", "KST", "MDT",
        "MSK", "MST", "NDT", "NPT", "NST", "NZDT", "NZST", "PDT", "PHT", "PKT", "PST", "SAST", "SGT", "WAT", "WEST",
        "WET", "WIB", "WIT", "WITA",
    ];
    NAMES.contains(&value)
}

pub fn is_country(value: &str) -> bool {
    value.len() == 2 && in_words(COUNTRIES, &value.to_ascii_uppercase())
}

/// `zh-CN`, `zh-Hans-CN`, `de_DE`, `en`: a known language, then script, region, extensions.
pub fn is_bcp47(value: &str) -> bool {
    if value.len() > 35 || !value.is_ascii() {
        return false;
    }
    let mut parts = value.split(['-', '_']);
    if !parts.next().is_some_and(|language| in_words(LANGUAGES, &language.to_ascii_lowercase())) {
        return false;
    }
    parts.all(|part| match part.len() {
        2 => is_country(part),
        3 => part.bytes().all(|byte| byte.is_ascii_digit()),
        4 => part.bytes().all(|byte| byte.is_ascii_alphabetic()),
        1 | 5..=8 => part.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        _ => false,
    })
}

/// `zh_CN.UTF-8`, `de_DE@euro`, `sr_RS.UTF-8@latin`. Not `C` and `POSIX`.
pub fn is_posix_locale(value: &str) -> bool {
    let (value, modifier) = value.split_once('@').map_or((value, "x"), |(value, modifier)| (value, modifier));
    let (name, charset) = value.split_once('.').map_or((value, "UTF-8"), |(name, charset)| (name, charset));
    let Some((language, region)) = name.split_once('_') else { return false };
    in_words(LANGUAGES, language)
        && region.bytes().all(|byte| byte.is_ascii_uppercase())
        && is_country(region)
        && (3..=14).contains(&charset.len())
        && charset.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && (1..=12).contains(&modifier.len())
}

/// `zh-CN,zh;q=0.9,en;q=0.8`: at least one language. `*` alone tells nothing.
pub fn is_accept_language(value: &str) -> bool {
    let mut tags = 0;
    let valid = value.split(',').all(|entry| {
        let (tag, _) = entry.trim().split_once(';').unwrap_or((entry.trim(), ""));
        tags += usize::from(is_bcp47(tag.trim()));
        tag.trim() == "*" || is_bcp47(tag.trim())
    });
    valid && tags > 0 && value.len() <= 256
}

//! What invented people write about, by language. Nothing here was ever posted.

/// A language and how to write in it.
pub(super) struct Language {
    /// As in `lang`.
    pub(super) code: &'static str,
    /// Out of 100 posts.
    pub(super) share: u32,
    /// Sentences; `{}` is the subject.
    pub(super) sentences: &'static [&'static str],
    /// Subjects, in the order of [`SUBJECTS`].
    pub(super) subjects: [&'static str; SUBJECTS],
}

/// Number of subjects: cat, dog, coffee, football, rain, music, train, soup.
pub(super) const SUBJECTS: usize = 8;

/// Hashtags, in the order of the subjects.
pub(super) const HASHTAGS: [&str; SUBJECTS] =
    ["CatsOfTheWorld", "DogDays", "CoffeeTime", "MatchDay", "RainAgain", "NowPlaying", "TrainSpotting", "SoupWeather"];

/// Emoji, in the order of the subjects; some of several code points.
pub(super) const EMOJI: [&str; SUBJECTS] = ["🐈", "🐕‍🦺", "☕️", "⚽", "🌧️", "🎵", "🚆", "🍜👩🏽‍🍳"];

pub(super) const TONGUES: &[Language] = &[
    Language {
        code: "en",
        share: 50,
        sentences: &[
            "I never knew that a {} could change a whole morning like this.",
            "I can't believe it: the {} was right there all along & I never looked.",
            "Three hours, one {} and far too many opinions about it.",
            "Breaking: local {} wins again, \"entirely deserved\" by all accounts.",
            "If you need me, I'll be with the {}.\nDon't wait up.",
            "My {} > your {}. Fight me <3",
        ],
        subjects: ["cat", "dog", "coffee", "football", "rain", "music", "train", "soup"],
    },
    Language {
        code: "ja",
        share: 15,
        sentences: &[
            "今日も{}のことばかり考えている。",
            "{}は正義。異論は認めない!",
            "駅前で見た{}がかわいすぎて動けない",
            "明日の{}が楽しみで眠れません…",
        ],
        subjects: ["猫", "犬", "コーヒー", "サッカー", "雨", "音楽", "電車", "ラーメン"],
    },
    Language {
        code: "es",
        share: 10,
        sentences: &[
            "¿Quién dijo que el {} no era lo más importante del año?",
            "Ayer soñé con un {} y hoy todo tiene sentido.",
            "El {} de mi vecina merece un monumento, señores.",
        ],
        subjects: ["gato", "perro", "café", "fútbol", "chaparrón", "concierto", "tren", "caldo"],
    },
    Language {
        code: "pt",
        share: 8,
        sentences: &["Não há {} como este em toda a região, podem acreditar.", "Hoje o {} está impossível, que manhã!"],
        subjects: ["gatinho", "cachorro", "cafezinho", "futebol", "temporal", "violão", "trem", "caldinho"],
    },
    Language {
        code: "ar",
        share: 7,
        sentences: &["لا شيء يضاهي {} في هذا الصباح الجميل", "هل رأيتم {} اليوم؟ كان رائعا حقا"],
        subjects: ["القط", "الكلب", "القهوة", "كرة القدم", "المطر", "الموسيقى", "القطار", "الحساء"],
    },
    Language {
        code: "ko",
        share: 5,
        sentences: &["오늘도 {} 생각뿐이에요.", "역 앞에서 본 {} 너무 귀여워"],
        subjects: ["고양이", "강아지", "커피", "축구", "비", "음악", "기차", "라면"],
    },
    Language {
        code: "fr",
        share: 4,
        sentences: &["Là où il y a un {}, il y a de l'espoir.", "Ça y est, le {} est arrivé à l'heure !"],
        subjects: ["chat", "chien", "café crème", "foot", "déluge", "piano", "train de nuit", "potage"],
    },
    Language { code: "und", share: 1, sentences: &["{} {} {}", "{}!!!"], subjects: EMOJI },
];

pub(super) const NAMES: [&str; 16] = [
    "otter", "heron", "badger", "magpie", "walrus", "lynx", "beetle", "falcon", "salmon", "ibex", "gecko", "raven",
    "stoat", "puffin", "marten", "wombat",
];

pub(super) const PLACES: [(&str, &str, &str, f64, f64); 4] = [
    ("Lower Marsh", "GB", "United Kingdom", -0.1121, 51.5015),
    ("北沢", "JP", "日本", 139.6681, 35.6617),
    ("Ribeira", "PT", "Portugal", -8.6131, 41.1407),
    ("Belmont Harbor", "US", "United States", -87.6398, 41.9418),
];

pub(super) const SOURCES: [&str; 4] = [
    r#"<a href="https://app.example/web" rel="nofollow">Example Web App</a>"#,
    r#"<a href="https://app.example/pocket" rel="nofollow">Example for Pockets</a>"#,
    r#"<a href="https://bots.example" rel="nofollow">Ticker Bot</a>"#,
    "web",
];

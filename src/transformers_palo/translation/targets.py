# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The languages that records are translated into: all that the pipeline knows of one is its entry in this table.

A further language is one more entry: its prompt, its script, the bounds of its checks, the marks of its repairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..languages import Language, get_language


@dataclass(frozen=True, eq=False)
class Target:
    """A language to translate into.

    Attributes:
        language: Which.
        scripts: What the Unicode names of its letters begin with.
        guidance: What the prompt tells the translator about register, script and what to watch.
        length: Least and most characters of a translation for one character of English.
        characters_per_token: How many of its characters a token holds (o200k_base, on the good labelled sentences).
        terminators: Marks that a sentence may end with; ASCII's `.!?` besides.
        full_stop: What ends a statement.
        marks: ASCII punctuation -> its own.
        letters: Letters of a neighbour's keyboard -> its own.
        quotes: Opening and closing quotation marks.
        spacing: Round punctuation: `"none"` between characters, `"french"` before high marks, or `"plain"`.
        inverted: Whether questions and exclamations begin with an inverted mark.
        abbreviations: Words behind which a full stop ends no sentence.
        initials: Names of letters, some of them words as well: full stops behind two of them end no sentence.
        rivals: ISO 639-1 codes of languages in the same script that it is told apart from by a few words.
        neighbours: The same, of languages so close that short sentences do not tell.
        frequent_words: Common words that the rivals do not have.
        frequent_elsewhere: Code of a neighbour -> common words of it that the language does not have.
        foreign_letters: Letters of its script that only its neighbours use.
        own_letters: Letters of its script that only it uses: where one is, no rival or neighbour is looked for.
        foreign_spellings: What only a neighbour writes in its script (a regular expression).
        numerals: Parts of words for 0 to 12, alternatives divided by `/`.
        more_numerals: The same for further numbers and for shares; what a language adds up (sixty-five) is added up.
        counts: Whole words that count 2 to 12, alternatives divided by `/`; none where they mean something else as well.
        counters: Characters that follow a count written in Chinese characters.
        scales: Words that multiply the number before them.
        english_spellings: What only English words look like (a regular expression), for a target in Latin script.
        loanwords: English words that are its own as well, though they look so.
        refusals: How a model refuses in it (regular expressions).
        chatter: How a model talks about its translation in it (regular expressions).
        offers: How a model offers or asks for something in it (the same).
        suspects: Name of a flag for a reviewer -> regular expressions of what deserves a look.
    """

    language: Language
    scripts: frozenset[str]
    guidance: tuple[str, ...]
    length: tuple[float, float]
    characters_per_token: float
    terminators: str = ""
    full_stop: str = "."
    marks: dict[str, str] = field(default_factory=dict)
    letters: Mapping[str, str] = field(default_factory=dict)
    quotes: tuple[str, str] = ("“", "”")
    spacing: Literal["plain", "none", "french"] = "plain"
    inverted: bool = False
    abbreviations: tuple[str, ...] = ()
    initials: frozenset[str] = frozenset()
    rivals: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    frequent_words: frozenset[str] = frozenset()
    frequent_elsewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    foreign_letters: str = ""
    own_letters: str = ""
    foreign_spellings: str = ""
    numerals: tuple[str, ...] = ()
    more_numerals: Mapping[float, str] = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    counters: str = ""
    scales: dict[str, int] = field(default_factory=dict)
    english_spellings: str = ""
    loanwords: frozenset[str] = frozenset()
    refusals: tuple[str, ...] = ()
    chatter: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    suspects: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """ISO 639-1 code of the language."""
        return self.language.code


_FULL_WIDTH = {",": "，", "?": "？", "!": "！", ":": "：", ";": "；", "(": "（", ")": "）"}
_ARABIC_MARKS = {",": "،", ";": "؛", "?": "؟"}
_CJK_SCALES = {"百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
# English spellings that French and Spanish write as well.
_LOANS = frozenset(
    """album anorak baby bacon ballet barbecue baseball basket basketball bikini blazer bloc boomerang bowling boxer boxing
    brownie brunch building bulldog bungalow burger business cabaret camping casting chalet chef chip clip clown club coach
    cocktail complot confetti cookie cow-boy cowboy crawl cupcake curry dandy debut derby dressing e-mail email express fax
    film fitness football frisbee gang ghetto golf graffiti hall hamburger handball handicap happening hippie hobby hockey
    hot-dog hotdog husky iceberg igloo internet interview item jazz jean jeep jersey jet jockey jogging judo jury karaoke
    kart karting kayak kebab ketchup kilo kilt kimono kit kiwi koala lady leader living lobby long look lunch marketing
    match meeting milk-shake mousse online parka parking parquet patchwork penalty pick-up pickup ping-pong poker poney pop
    popcorn poster pressing pudding puf punch punk puzzle rally ranch rang rap ring robot rock rugby sandwich sandwiche
    sang selfie set sexy sherry shopping short show skate skateboard skatepark skater ski sketch smartphone smoking snack
    snowboard software spa spaghetti spam speaker spray standing stand steak stock stop string surf sushi sweat sweatshirt
    swing t-shirt taekwondo tandem tank tarot taxi tennis test thermos thriller ticket toast tofu top totem tram tramway
    trolley tweed van vodka volley volleyball wagon walkie-talkie web week-end weekend western whisky wi-fi wifi windsurf
    yak yoga zigzag zoo zoom
    animal animals bat bus cap car chair four fruit grand image lion long man metal office on once orange beige plane plate
    restaurant round six son table tan ten train van vase no""".split()
)

# Characters of one written form only, the ones that betray it most often.
_TRADITIONAL = (
    "醫檢為這個們來時說國會過對車還沒為於後發現見觀點問題門間開關學習電話語讀請讓認識記設計論證評詞譯試該詳誤謝變親書畫圖氣灘陽歡遊戲衝潔淨"
    "緊隨絲織網線級給統總結終繞繼續維編緣繪節範築籃簡類糧絕帶擁擠擺拋換據擔攝擊損揮掛攜準滿漢漸濕濟灣無燒獨獎獲環畢異當療監盤眾確碼禮"
    "稱穩競筆與嗎並顏紅藍綠黃銀錢鐵長張東兩幾樣樹樓橋機構條業樂熱狀態燈爐頭頁順須顯飛馬鳥魚龍麼廣場處產實寫歲買賣邊遠進運達園鐘圍驗術"
    "員資訊備職歷農選擇軍軟輕輪轉輛輸較載輔陣隊階際險雜雙離難雲韓飯館餅養餘駕駛騎驚鬧鬆麗麥黨齊齒龜龐廠廳廢弔彈彎徑從復恆悅惡惱愛慣慶"
    "憂應懷戰戶掃採搖擴敵數斷舊暫曆權殺殼毀汙決況淚湯滅滾漁潑澤濃濱瀏營獅獵瑪瓊畝癢皺盜矯礙禍種積穌窩籬糞紀約紋純紙紛細紳紹組絡經綁綜"
    "綱緒緩緬縣縫縮績繩纖罷羅義聖聞聯聲聽肅脈脫腦腳腫臉臘臥艙艦莊莖華萬葉蓋蓮蔥蕭薩藝藥蘇蘋蘭虛蝦蝸螞蟲蠟衛裝裡補製複視覺覽觸訂訪許診"
    "註詢誌誰調諾謀謙講譜議護讚豎豐豬貓財貢貧貨貫責貯貴貸費貼賀賓賜賞賠賴賺購贈贏趕趙跡踐蹤躍軌軒輩辦辭適遲遷鄉鄰釀釋針釣鈴鉛鉤銅鋪鋼"
    "錄錦錯鍋鍵鎖鎮鏡鑰閃閉閒閱闊闖陸陰陳隱隻雞霧靜響項預頻額顧飄飲飾飽餓饅駐駱騙驅驢鬍鬥鮮鯊鯨鳳鳴鴨鴿鵝鷹鹽齡傘傢僅價億優償儀側偉傑"
    "傳債傷倉倫凍凱剛創劃劇劉劍勁動勝勞勢勵勸匯區協卻厭吳啟喚喪喬單嘆噴嚇嚴囉圓團塊塗塵墊墜墳壓壞壯壺壽夢夾奪奮婦媽嬰孫寧寬寶尋導將專"
    "尷屆屬岡島峽崗嶺嶼巖帥師帳幣幫幹幟庫"
)
_SIMPLIFIED = (
    "这们时说过对车还为发现见观问题门间开关电话语读请让认识记设计论证评词译试该详误谢变亲书图吗颜红蓝绿银钱铁长张东两几样树桥构业乐热"
    "态头页顺须显飞马鸟鱼龙么广场处产实岁买卖边远进运达则动务卫协单历压厂厅换轮骑驾驶辆输较载轻转软辅阵队阶际险杂难韩饭馆饼养丽齐齿龟"
    "庞废弹复恶恼爱惯庆忧应怀战户扫损摇扩敌暂权杀毁汤灭滚渔泼泽浓滨浏营狮猎获玛琼亩疗皱监盘祸积窝篱粪纪约纹纯纸级纷细绅绍终组结绝络给"
    "丝经绑综纲紧绪缓编缅缝缩总绩织绳绘继续纤罢罗义习闻联肃脑肿脸舱舰华莲萧萨艺药苏兰虾蜗蚂补视觉览订讯访许诊询谁调诺谋谦讲谱议护赞财"
    "贡贫货贯责贵贷费贴贺宾赐赏赔赖赚购赠赢赶赵跃轨轩辈办农迟乡邻释针钓铃铅钩铜铺钢录锦错锅键锁镇镜钟钥闪闭闲阅阔闯陆阴陈隐鸡雾项预频"
    "额顾飘饮饰饱饿驻骗驱驴鲜鲨鲸凤鸣鸭鸽鹅鹰盐龄伞仅亿优偿仪侧伟备传债伤仓伦冻凯刚创剧剑劲胜劳势劝汇厌员唤丧乔叹喷严圆团块尘垫坠坟壶"
    "夹夺奋妇妈婴孙宽寻导专岗岛岭屿帅师帐带币帜库"
)

_ENTRIES = (
    Target(
        language=get_language("zh"),
        scripts=frozenset({"CJK", "IDEOGRAPHIC"}),
        guidance=(
            "Write Simplified Chinese as in mainland China; no traditional characters.",
            "Use full-width punctuation (，。？！：；（）) and no spaces between characters.",
            "Choose the measure word that fits the noun; turn English passives and long relative clauses into natural "
            "Chinese sentences.",
        ),
        length=(0.18, 0.51),
        characters_per_token=1.25,
        terminators="。！？…",
        full_stop="。",
        marks=_FULL_WIDTH,
        spacing="none",
        foreign_letters=_TRADITIONAL,
        more_numerals={2: "双/对/俩"},
        counters="只个名位条张辆艘匹头棵朵座把件本杯瓶块片架台间层排种群人岁盏顶根幅幢栋盘碗",
        scales=_CJK_SCALES,
        refusals=(
            r"(抱歉|对不起|很遗憾)[，,].{0,12}(无法|不能)",
            r"我(无法|不能)(提供|翻译|协助|帮助|完成)",
            r"作为(一个|一名)?(AI|人工智能|语言模型)",
            r"我(没有办法|没办法|看不到|无法|不能|不便)(查看|看到|访问|识别|描述|回答|提供|为您|处理|满足)?",
            r"作为.{0,8}(模型|助手|人工智能)",
            r"(无法|不能)(提供|完成)(该|此|这)",
        ),
        chatter=(
            r"(以下|下面)是.{0,12}(翻译|译文)",
            r"^\s*(翻译|译文|中文翻译)\s*[：:]",
            r"^\s*好的[，,]",
            r"(注|备注|说明|译注)[：:]",
            r"希望.{0,8}(有帮助|有所帮助)",
            r"翻译|译文|译成|直译|意译",
            r"^\s*(好的|当然可以|没问题|明白了|收到)[！!，,]",
        ),
        offers=(
            r"(如果|如|若)(您|你).{0,12}(需要|问题|帮助|其他|想)[^，。]{0,12}[，,].{0,6}(请|欢迎|可以|告诉|我)",
            r"请.{0,8}(告诉|告知|提供|上传|发送|发给)我?",
            r"随时.{0,6}(告诉|联系|问)",
            r"很(高兴|乐意)为(您|你)",
        ),
    ),
    Target(
        language=get_language("fr"),
        scripts=frozenset({"LATIN"}),
        guidance=(
            "Address the reader as 'vous'.",
            "Make articles, adjectives and past participles agree in gender and number with their nouns.",
            "Keep all accents and cedillas, capitals included; put a no-break space before ; : ! ? and use « ».",
        ),
        length=(0.64, 1.82),
        characters_per_token=4.0,
        terminators="…",
        quotes=("«\u00a0", "\u00a0»"),
        spacing="french",
        rivals=("en", "de"),
        frequent_elsewhere={
            "es": frozenset("el los las una con por está están del al pero muy".split()),
            "pt": frozenset("o os um uma com não do dos em ao são está".split()),
            "it": frozenset("gli di che nel della è sono per sul alla dei con una".split()),
        },
        frequent_words=frozenset(
            "le la les un une des du de et est dans sur avec pour qui au aux il elle ils elles à en ce cette ces se son sa ne pas y".split()
        ),
        neighbours=("es", "it", "pt"),
        numerals=(
            "zéro",
            "un/premi",
            "deux/second",
            "trois/troisi",
            "quatre/quatrième",
            "cinq",
            "six",
            "sept",
            "huit",
            "neuf",
            "dix",
            "onze",
            "douze/douzaine",
        ),
        more_numerals={
            0.25: "quart",
            0.5: "demi/moitié",
            13: "treize",
            14: "quatorze",
            15: "quinz",
            16: "seize",
            20: "vingt",
            30: "trent",
            40: "quarant",
            50: "cinquant",
            60: "soixant",
            80: "quatre-vingt",
            100: "cent",
        },
        counts=("deux", "trois", "quatre", "cinq", "six", "sept", "huit", "", "dix", "onze", "douze"),
        scales={"mille": 1000, "million": 10**6, "millions": 10**6, "milliard": 10**9, "milliards": 10**9, "k": 1000},
        english_spellings=r"[kw]|sh|^th|th$|th[ei]|ee|oo|ck|gh|ey$|ay$|ly$|ry$|ty$|ness$|ings?$|[^i]ed$|[^aeiouy]ch$|[^aeiouéèrn]d$|"
        r"rd$(?<!ard)(?<!ord)|g$(?<!ang)(?<!ong)|ful$|thers?$",
        loanwords=_LOANS,
        refusals=(
            r"(désolée?|regrette)[^.]{0,30}(ne peux|ne puis|impossible)",
            r"\bje ne (peux|puis) pas (traduire|fournir|vous aider|répondre|identifier)",
            r"en tant qu['’](IA|intelligence artificielle|assistant)",
            r"en tant qu(e |['’])(grand )?(IA|intelligence|assistante?|modèle|programme)",
            r"\bje ne suis pas en mesure de",
            r"\bje ne (peux|puis) (pas|malheureusement pas) (voir|accéder|visualiser|décrire|accéder|satisfaire)",
            r"\bje n['’]ai pas (accès|la capacité|la possibilité)",
            r"\bje suis (une IA|un modèle)",
            r"(désolée?|malheureusement),?[^.]{0,20}je ne (peux|puis)",
        ),
        chatter=(
            r"voici (la|une|votre) traduction",
            r"^\s*traduction\s*(française|en français)?\s*:",
            r"^\s*bien sûr\s*[!,:]",
            r"^\s*\(?(note|remarque)( du traducteur)?\s*:",
            r"n['’]hésitez pas à me",
            r"\b(traduction|traduire|traduite?|traduit)\b",
            r"^\s*(d['’]accord|bien entendu|avec plaisir|certainement|entendu)\s*[!,:.]",
        ),
        offers=(
            r"\bn['’]hésitez pas",
            r"\bsi vous (m['’]|souhaitez|avez besoin|voulez|désirez)[^.]{0,60}\b(je|moi|demand|dites|faites|image|texte)",
            r"\b(faites-(le-)?moi savoir|dites-(le-)?moi|je reste à votre|envoyez-moi|puis-je vous aider)",
            r"j['’]espère que (cela|ça|cette)",
        ),
        suspects={
            "gender_agreement": (
                r"\b(?:le|un|ce|du|au)\s+(?!bastion|silence|squelette|plancton)\w{2,}(?:tion|sion|ance|ence|ette)\b",
                r"\b(?:la|une|cette|sa)\s+(?!page|image|plage|cage|nage|rage|eau|peau)\w{2,}(?:age|isme|ment|eau)\b",
                r"\b(?:une|la|cette)\s+\w+\s+(?:blanc|vert|petit|grand|noir|bleu|brun|gris|rond|garé|assis)\b",
                r"\b(?:un|le)\s+\w+(?<!e)\s+(?:blanche|verte|petite|grande|noire|bleue|brune|grise|garée|assise)\b",
            )
        },
    ),
    Target(
        language=get_language("es"),
        scripts=frozenset({"LATIN"}),
        guidance=(
            "Write neutral Spanish that reads well in Spain and in Latin America; address the reader as 'usted' only where "
            "the English is formal.",
            "Make articles, adjectives and participles agree in gender and number with their nouns.",
            "Open questions with ¿ and exclamations with ¡; keep all accents and ñ.",
        ),
        length=(0.62, 1.77),
        characters_per_token=4.0,
        terminators="…",
        quotes=("«", "»"),
        inverted=True,
        abbreviations=tuple(
            "Sr Sra Srta Sres Dr Dra Ud Uds Vd Vds Prof Lic Ing Av Avda núm n.º pág p.ej ej Mr Mrs Ms St Jr".split()
        ),
        rivals=("en", "de"),
        frequent_elsewhere={
            "fr": frozenset("des et dans est une avec du au qui sur elle".split()),
            "pt": frozenset("um uma com não do dos em ao são seu sua também".split()),
            "it": frozenset("il gli di che nel della è sono per sul alla dei".split()),
        },
        frequent_words=frozenset(
            "el la los las y un una unos unas de del con que por para su sus al se está están hay lo".split()
        ),
        neighbours=("pt", "fr", "it"),
        numerals=(
            "cero",
            "un/primer",
            "dos/segund",
            "tres/tercer",
            "cuatro/cuart",
            "cinco/quint",
            "seis/sext",
            "siete",
            "ocho",
            "nueve",
            "diez",
            "once",
            "doce",
        ),
        more_numerals={
            0.25: "cuarto de/cuarta parte/y cuarto/menos cuarto",
            0.5: "medi/mitad",
            13: "trece",
            14: "catorce",
            15: "quince",
            16: "dieciséis",
            17: "diecisiete",
            18: "dieciocho",
            19: "diecinueve",
            20: "veint",
            30: "treint",
            40: "cuarent",
            50: "cincuent",
            60: "sesent",
            70: "setent",
            80: "ochent",
            90: "novent",
            100: "cien",
            200: "doscient",
            300: "trescient",
            400: "cuatrocient",
            500: "quinient",
            600: "seiscient",
            700: "setecient",
            800: "ochocient",
            900: "novecient",
        },
        counts=("dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce"),
        scales={"mil": 1000, "millón": 10**6, "millones": 10**6, "k": 1000},
        english_spellings=r"[kw]|sh|th|ee|oo|ck|gh|ph|ss|tt|pp|ff|mm|dd|gg|bb|ly$|ness$|ing$|ings$|ed$|ch$|tch|[^aeou]y$|"
        r"[bcfghkmpqtv]$|[lnr]d$|[^aeiou]s$|tion|ght",
        loanwords=_LOANS,
        refusals=(
            r"lo siento,?[^.]{0,30}no puedo",
            r"\bno puedo (traducir|proporcionar|ayudar|responder|identificar)",
            r"como (una? )?(IA|inteligencia artificial|modelo de lenguaje|asistente)",
            r"\bno (puedo|me es posible) (ver|acceder|procesar|cumplir|describir|realizar|traducir|atender)",
            r"\bno (soy capaz de|tengo (acceso|la capacidad|permitido|la posibilidad))",
            r"\bsoy (un|una) (IA|inteligencia artificial|modelo|asistente)",
            r"como (un )?modelo de (lenguaje|IA|inteligencia)",
            r"(lo siento|lamento|lamentablemente|disculp)[^.]{0,40}no (puedo|me es)",
        ),
        chatter=(
            r"aquí (tienes?|está) (la|tu|su) traducción",
            r"^\s*traducción\s*(al español)?\s*:",
            r"^\s*[¡]?(claro|por supuesto)\s*[!,:]",
            r"^\s*\(?nota( del traductor)?\s*:",
            r"espero que (esto )?(te|le) (sea|ayude)",
            r"\b(traducción|traducir|traducid[oa]|traduzco)\b",
            r"^\s*¡?(de acuerdo|con gusto|claro que sí|desde luego|entendido)\s*[!,:.]",
        ),
        offers=(
            r"\bsi (me|quieres|quiere|necesitas|necesita|deseas|desea|tienes|tiene)\b[^.]{0,60}\b(imagen|foto|texto|avís|dime|dígame|respond|gusto)",
            r"\bno dud(es|e) en\b",
            r"\b(avísame|avíseme|házmelo saber|hágamelo saber|envíame|envíeme)\b",
            r"con (mucho )?gusto (te|le)",
            r"\bestoy (aquí )?para ayudar",
            r"\bespero que (esto|te|le|esta)\b",
        ),
        suspects={
            "gender_agreement": (
                r"\b(?:el|un|los|unos|este|ese)\s+\w+(?:ción|sión|ciones|siones|dad|tad|dades|umbre)\b",
                r"\b(?:la|una|las|esta|esa)\s+(?:problema|sistema|tema|programa|mapa|día|planeta|idioma|clima)s?\b",
                r"\b(?:la|una|las|unas|esta|esa)\s+\w{3,}ajes?\b",
                r"\b(?!(?:día|mapa|problema|tema|sistema|planeta|programa|clima|idioma|cada|era|sea|para|hasta|sofá|nada)\b)"
                r"\w{3,}(?<!ab)as?\s+(?:rojo|blanco|negro|amarillo|pequeño|bonito|largo|alto|redondo|hermoso|morado|estacionado)s?\b",
                r"\b(?:un|el)\s+\w+o\s+(?:roja|blanca|negra|amarilla|pequeña|bonita|larga|alta|redonda|hermosa|morada)\b",
            )
        },
    ),
    Target(
        language=get_language("ru"),
        scripts=frozenset({"CYRILLIC"}),
        guidance=(
            "Address the reader as «вы».",
            "Make adjectives, participles and past-tense verbs agree with their nouns in gender, number and case; decline "
            "nouns as numbers and prepositions require.",
            "Use Cyrillic letters only, «ёлочки» as quotation marks, and transliterate names that Russian transliterates.",
        ),
        length=(0.52, 1.56),
        characters_per_token=3.25,
        terminators="…",
        quotes=("«", "»"),
        rivals=("uk", "be"),
        frequent_elsewhere={
            "uk": frozenset("і та з що є це його вони як під біля де який яка яке чи вона він зараз".split()),
            "bg": frozenset("се са е го ги че като ще има един една във със върху нея й".split()),
        },
        frequent_words=frozenset("и что это или из есть его её как он она они рядом".split()),
        foreign_letters="іїєґўІЇЄҐЎјљњћђџѝ",
        foreign_spellings=r"ъ(?![еёюя])|\b(?:какво|какъв|каква|какви|къде|защо|това|този|тази|тези|които|който|която|което|"
        r"със|във|няма|едно|една(?= \w+(?:та|ка)\b)|поред|шта|није|који|која|које)\b",
        numerals=(
            "нол/нул",
            "один/одн/перв",
            "дв/втор/пара/пару/пары/паре/парой/оба /обе /обоих/обеих/обоим/обеим",
            "тр",
            "четыр/четвер/четвёр",
            "пят",
            "шест",
            "сем/седьм",
            "восем/восьм",
            "девят",
            "десят",
            "одиннадцат",
            "двенадцат",
        ),
        more_numerals={
            0.25: "четверть/четверти",
            0.5: "половин/пол",
            1.5: "полтор",
            12: "двенадцат/дюжин",
            13: "тринадцат",
            14: "четырнадцат",
            15: "пятнадцат",
            16: "шестнадцат",
            17: "семнадцат",
            18: "восемнадцат",
            19: "девятнадцат",
            20: "двадцат",
            30: "тридцат",
            40: "сорок",
            50: "пятьдесят/пятидесят",
            60: "шестьдесят/шестидесят",
            70: "семьдесят/семидесят",
            80: "восемьдесят/восьмидесят",
            90: "девяност",
            100: "сто/сот",
            200: "двести/двухсот",
            300: "триста/трёхсот/трехсот",
            400: "четыреста",
            500: "пятьсот",
            600: "шестьсот",
            700: "семьсот",
            800: "восемьсот",
            900: "девятьсот",
        },
        counts=(
            "два/две/двух/двое/двумя/двум",
            "три/трёх/трех/трое/тремя/трём/трем",
            "четыре/четырёх/четырех/четверо/четырьмя",
            "пять/пяти/пятеро/пятью",
            "шесть/шести/шестеро/шестью",
            "семь/семи/семеро",
            "восемь/восьми",
            "девять/девяти",
            "десять/десяти",
            "одиннадцать/одиннадцати",
            "двенадцать/двенадцати",
        ),
        scales={
            "тыс": 1000,
            "тысяч": 1000,
            "тысяча": 1000,
            "тысячи": 1000,
            "млн": 10**6,
            "миллион": 10**6,
            "миллиона": 10**6,
            "миллионов": 10**6,
            "млрд": 10**9,
            "миллиард": 10**9,
            "миллиарда": 10**9,
            "миллиардов": 10**9,
        },
        refusals=(
            r"(извините|к сожалению|простите),?[^.]{0,30}(не могу|не в состоянии)",
            r"\bя не могу (перевести|предоставить|помочь|ответить|определить)",
            r"как (ИИ|искусственный интеллект|языковая модель)",
            r"\bкак (большая |искусственн\w+ )?(ИИ|языковая модель|интеллект|нейросеть)",
            r"\bя (всего лишь |только |просто )?(языковая модель|ИИ|искусственный)",
            r"\bу меня нет (доступа|возможности)",
            r"\bя не (могу|в состоянии|имею возможности|способ[еа]н\w*) (просм|видеть|увидеть|выполн|опис|обработ|перев|предост|помо|отве|опред|обсу)",
            r"\bне могу (выполнить|помочь с) (эт|ваш)",
        ),
        chatter=(
            r"вот (ваш )?перевод",
            r"^\s*перевод\s*(на русский( язык)?)?\s*:",
            r"^\s*конечно\s*[!,:]",
            r"^\s*\(?(примечание|прим\. перев)\S*\s*:?",
            r"надеюсь, это поможет",
            r"\bперев(од|ести|едено|едённ\w*|еду) (на русский|этого|эту|это|данн|предложени|текст|фраз|на рус)",
            r"\b(русский|ваш|точный|дословный|мой) перевод\b",
            r"^\s*\(?перевод\w*\s*:",
            r"^\s*(разумеется|без проблем|понял|с удовольствием|да, конечно)\s*[!,:.]",
        ),
        offers=(
            r"\bесли (вы |вам |ты )?(пришл|отправ|нужн|хоти|хоте|понадоб|у вас)[^.]{0,60}(изображ|фото|картин|перев|помо|дайте|обращ|напиш|вопрос|сообщ)",
            r"\b(дайте (мне )?знать|обращайтесь|надеюсь, (это|что)|пришлите|буду рад)",
        ),
        suspects={
            "gender_agreement": (
                r"\b(?:красный|белый|ч[её]рный|маленький|синий|зел[её]ный|ж[её]лтый|новый|старый|деревянный|припаркованный)\s+"
                r"(?!мужчина|папа|дядя|дедушка|юноша|судья)\w{3,}(?:а|я)\b(?<!мя)",
                r"\b(?:красная|белая|ч[её]рная|маленькая|синяя|зел[её]ная|ж[её]лтая|новая|старая|большая|деревянная)\s+"
                r"\w+[бвгджзклмнпрстфхц]\b",
                r"\b(?:красное|белое|ч[её]рное|маленькое|синее|зел[её]ное|ж[её]лтое|большое)\s+\w+(?:а|[бвгджзклмнпрстфхц])\b",
                r"\b(?:девочка|женщина|девушка|кошка|собака)\s+(?:сидел|стоял|бежал|шёл|играл|смотрел|лежал)\b",
            )
        },
    ),
    Target(
        language=get_language("ja"),
        scripts=frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}),
        guidance=(
            "Use polite form (です・ます) throughout; no honorifics for people in pictures, no needless pronouns.",
            "Use full-width punctuation (、。？！（）) and 「」; no spaces between characters.",
            "Write loanwords in katakana; use Japanese forms of kanji, never simplified Chinese ones.",
        ),
        length=(0.26, 0.75),
        characters_per_token=1.35,
        terminators="。！？…」",
        full_stop="。",
        marks={**_FULL_WIDTH, ",": "、"},
        quotes=("「", "」"),
        spacing="none",
        foreign_letters=_SIMPLIFIED,
        more_numerals={
            1: "ひと",
            2: "双/両/ふた/ペア",
            3: "みっ",
            4: "よん/よっ",
            5: "いつ",
            6: "むっ",
            7: "なな",
            8: "やっ",
            9: "ここの",
            10: "とお",
        },
        counters="つ人匹頭台本枚冊個羽軒杯隻艘着足輪名脚機棟",
        scales=_CJK_SCALES,
        refusals=(
            r"(申し訳(ありません|ございません)|すみません)(が)?、?.{0,20}(できません|できかねます)",
            r"(翻訳|回答|提供|お手伝い)(は|を|することは)?.{0,6}(できません|できかねます)",
            r"(AI|人工知能|言語モデル)(である|として)",
            r"(画像|写真)を?.{0,6}(見|確認|表示|閲覧).{0,6}(できません|できない)",
            r"(対応|お答え|お応え|提供|お手伝い)(は|を|することが|することは)?.{0,6}(できません|できかねます|いたしかねます|出来ません)",
            r"いたしかねます",
            r"(AI|人工知能|言語モデル|アシスタント)(である|として|なので|です)",
        ),
        chatter=(
            r"(以下|こちら)(は|が|に).{0,12}(翻訳|訳文|訳)",
            r"^\s*(翻訳|訳文|日本語訳)\s*[：:]",
            r"^\s*(はい|承知しました|もちろん)[、。！].{0,12}(訳|翻訳)",
            r"(注|訳注|備考|補足)[：:]",
            r"お役に立て",
            r"翻訳|訳文|和訳|意訳|直訳|日本語訳|日本語に(する|訳)",
            r"^\s*(はい、?)?(承知(いた)?しました|もちろん(です)?|かしこまりました|了解しました|わかりました)[、。！!]",
        ),
        offers=(
            r"お(知らせ|申し付け|送り|聞かせ|気軽)(に)?.{0,12}ください",
            r"お気軽に",
            r"(画像|写真)を(お)?(送|アップロード|共有|提供).{0,12}(ください|いただ|くだされば|れば)",
            r"喜んで.{0,10}(お手伝い|お答え|いたします)",
            r"他に.{0,16}(あれば|ありましたら|ございましたら)",
        ),
    ),
    Target(
        language=get_language("ar"),
        scripts=frozenset({"ARABIC"}),
        guidance=(
            "Write Modern Standard Arabic, right to left, with full nunation (تنوين) and the hamzas in place: أيضًا, جدًّا.",
            "Make adjectives, verbs and demonstratives agree in gender and number with their nouns; use the dual.",
            "Use Arabic punctuation (، ؛ ؟): no space before a mark, one behind it. Use verbs where English uses verbs; "
            "do not turn them into nouns.",
        ),
        length=(0.49, 1.38),
        characters_per_token=2.75,
        terminators="؟…",
        marks=_ARABIC_MARKS,
        quotes=("«", "»"),
        rivals=("ur",),
        frequent_words=frozenset("في على هذه هذا التي الذي إلى مع أن هو هي".split()),
        neighbours=("fa",),
        foreign_letters="ٹڈڑےںپچژگھہیک",
        numerals=(
            "صفر",
            "واحد/أول/أحد/إحدى",
            "اثن/زوج/ثان/كلا /كلاهما/كلتا/ان/ين",
            "ثلاث/ثالث",
            "أربع/رابع",
            "خمس/خامس",
            "ست/سادس",
            "سبع/سابع",
            "ثمان/ثمن/ثامن",
            "تسع/تاسع",
            "عشر/عاشر",
            "أحد عشر/إحدى عشرة",
            "اثنا عشر/اثني عشر/اثنتا عشرة/اثنتي عشرة",
        ),
        more_numerals={
            0.25: "ربع",
            1 / 3: "ثلث",
            0.5: "نصف",
            11: "أحد عشر/إحدى عشرة",
            12: "اثنا عشر/اثني عشر/اثنتا عشرة/اثنتي عشرة/الثانية عشرة/دزينة",
            13: "ثلاثة عشر/ثلاث عشرة/الثالثة عشرة",
            14: "أربعة عشر/أربع عشرة/الرابعة عشرة",
            15: "خمسة عشر/خمس عشرة/الخامسة عشرة",
            16: "ستة عشر/ست عشرة/السادسة عشرة",
            17: "سبعة عشر/سبع عشرة/السابعة عشرة",
            18: "ثمانية عشر/ثماني عشرة/الثامنة عشرة",
            19: "تسعة عشر/تسع عشرة/التاسعة عشرة",
            20: "عشرون/عشرين",
            30: "ثلاثون/ثلاثين",
            40: "أربعون/أربعين",
            50: "خمسون/خمسين",
            60: "ستون/ستين",
            70: "سبعون/سبعين",
            80: "ثمانون/ثمانين",
            90: "تسعون/تسعين",
            100: "مئة/مائة/مئات",
            200: "مئتا/مئتي/مائتا/مائتي",
            300: "ثلاثمائة/ثلاثمئة",
            400: "أربعمائة/أربعمئة",
            500: "خمسمائة/خمسمئة",
            600: "ستمائة/ستمئة",
            700: "سبعمائة/سبعمئة",
            800: "ثمانمائة/ثمانمئة",
            900: "تسعمائة/تسعمئة",
            2000: "ألفا /ألفان/ألفي",
            2 * 10**6: "مليونا /مليونان/مليوني",
        },
        counts=(
            "",
            "ثلاثة/ثلاث/وثلاثة/وثلاث",
            "أربعة/أربع/وأربعة/وأربع",
            "خمسة/خمس/وخمسة/وخمس",
            "ستة/ست/وستة/وست",
            "سبعة/سبع/وسبعة/وسبع",
            "ثمانية/ثماني/وثمانية/وثماني",
            "تسعة/تسع/وتسعة/وتسع",
        ),
        scales={
            "ألف": 1000,
            "آلاف": 1000,
            "ألفا": 1000,
            "مليون": 10**6,
            "ملايين": 10**6,
            "مليار": 10**9,
            "مليارات": 10**9,
        },
        refusals=(
            r"(آسف|عذرًا|عذرا|أعتذر|للأسف)[،,]?[^.]{0,30}لا (أستطيع|يمكنني)",
            r"لا (أستطيع|يمكنني) (ترجمة|تقديم|مساعدت|المساعدة|الإجابة|تحديد)",
            r"(بصفتي|كوني|باعتباري) (نموذج|ذكاء|مساعد)",
            r"لا (أستطيع|يمكنني|أقدر على) (\S*ترجم|رؤية|عرض|الوصول|وصف|تلبية|معالجة|مشاهدة|تنفيذ|الرد)",
            r"لست قادر",
            r"(بصفتي|كوني|باعتباري|أنا) (مجرد )?(نموذج|ذكاء)",
            r"ليس(ت)? لدي (ال)?(قدرة|إمكانية|صلاحية|وصول)",
            r"(آسف|عذرًا|أعتذر|للأسف|المعذرة)[^.]{0,50}(لا (أستطيع|يمكنني)|غير قادر|لن أتمكن)",
        ),
        chatter=(
            r"(إليك|هذه هي|فيما يلي|إليكم) (ال)?ترجم",
            r"^\s*(ال)?ترجمة[^:.]{0,20}:",
            r"^\s*(بالتأكيد|بالطبع|حسنًا)\s*[!،,:]",
            r"^\s*\(?ملاحظة\s*:",
            r"آمل أن (يكون|تكون|يساعد)",
            r"ترجم(ة|ت)",
            r"^\s*(حسنا|طبعًا|طبعا|أكيد|بكل سرور|تفضل|على الرحب)\S*\s*[!،,:.]",
        ),
        offers=(
            r"لا تتردد",
            r"(إذا|إن) (كنت|كان|أرسلت|احتجت|أردت|رغبت)[^.]{0,50}(صورة|مساعد|فأخبر|أخبرني|سأ|يسعدني|نص)",
            r"يسعدني",
            r"(أخبرني|أعلمني|أرسل لي)",
        ),
        suspects={
            "gender_agreement": (
                r"\w+ة\s+(?:أحمر|أبيض|أسود|أزرق|أخضر|أصفر|كبير|صغير|جميل|طويل|قديم|جديد|بني)(?!\w)",
                r"(?:هذا|ذلك)\s+ال\w+ة(?!\w)",
                r"(?:هذه|تلك)\s+ال(?:رجل|كلب|ولد|بيت|كتاب|قط|طفل|قطار|حصان)(?!\w)",
                r"(?:المرأة|الفتاة|البنت|امرأة|فتاة)\s+(?:يجلس|يقف|يرتدي|يحمل|يلعب|يركب|يمشي|ينظر|يبدو)",
            ),
            "missing_nunation": (
                r"(?<!\w)و?(?:جدا|أيضا|شكرا|مثلا|دائما|أحيانا|تقريبا|حاليا|غالبا|عموما|معا|أبدا|تماما|يوميا|قليلا|كثيرا|نظرا|فعلا|"
                r"أولا|ثانيا|واضحا|خصوصا|بعيدا|قريبا|متوسطا|كبيرا|صغيرا|جميلا|طويلا)(?![\w\u064b-\u0652])",
            ),
        },
    ),
    Target(
        language=get_language("hi"),
        scripts=frozenset({"DEVANAGARI"}),
        guidance=(
            "Use आप and the verb forms of polite address; write everyday standard Hindi, not heavily Sanskritised.",
            "Make adjectives, possessives and verbs agree in gender and number with their nouns.",
            "End sentences with a danda (।); write loanwords in Devanagari; keep nuqtas (ज़, फ़, ड़).",
        ),
        length=(0.58, 1.63),
        characters_per_token=2.85,
        terminators="।॥…",
        full_stop="।",
        foreign_letters="ळ",
        frequent_elsewhere={
            "mr": frozenset("आहे आहेत आणि मध्ये काय एका असलेल्या त्याच्या तिच्या करत नाही होते कोणत्या".split()),
            "ne": frozenset("छ छन् हुन्छ भएको एउटा गरिरहेको गर्दै रहेको लगाएको हेर्दै कुन भन्ने".split()),
        },
        abbreviations=tuple(
            """डॉ श्री श्रीमती सुश्री प्रो मि मिस कु पं स्व कि मी सेमी किमी ग्रा ई पू रु नं सं पृ लि प्रा कं उप मो बि वि
            बी डी एफ एच एम एन एस टी डब्ल्यू डब्लू क्यू वाई ज़ेड जेड""".split()
        ),
        initials=frozenset(
            "ए बी सी डी ई एफ जी एच आई जे के एल एम एन ओ पी क्यू आर एस टी यू वी डब्ल्यू डब्लू एक्स वाई ज़ेड जेड".split()
        ),
        numerals=(
            "शून्य",
            "एक/पहल",
            "दो/दूसर",
            "तीन/तीसर",
            "चार/चौथ",
            "पांच/पाँच",
            "छह/छः/छठ",
            "सात",
            "आठ",
            "नौ",
            "दस",
            "ग्यारह",
            "बारह",
        ),
        more_numerals={
            -0.25: "पौने",
            0.25: "चौथाई/सवा",
            0.5: "आध/साढ़े/साढ़े",
            0.75: "पौन",
            1.5: "डेढ़/डेढ़",
            2.5: "ढाई",
            12: "दर्जन",
            13: "तेरह",
            14: "चौदह",
            15: "पंद्रह/पन्द्रह",
            16: "सोलह",
            17: "सत्रह/सतरह",
            18: "अठारह/अट्ठारह",
            19: "उन्नीस",
            20: "बीस",
            21: "इक्कीस",
            22: "बाईस",
            23: "तेईस",
            24: "चौबीस",
            25: "पच्चीस",
            26: "छब्बीस",
            27: "सत्ताईस",
            28: "अट्ठाईस/अठाईस",
            29: "उनतीस",
            30: "तीस",
            31: "इकतीस/इकत्तीस",
            32: "बत्तीस",
            33: "तैंतीस",
            34: "चौंतीस",
            35: "पैंतीस",
            36: "छत्तीस",
            37: "सैंतीस",
            38: "अड़तीस",
            39: "उनतालीस",
            40: "चालीस",
            41: "इकतालीस",
            42: "बयालीस",
            43: "तैंतालीस/तिरतालीस",
            44: "चौवालीस/चवालीस",
            45: "पैंतालीस",
            46: "छियालीस",
            47: "सैंतालीस",
            48: "अड़तालीस",
            49: "उनचास",
            50: "पचास",
            51: "इक्यावन",
            52: "बावन",
            53: "तिरपन/तिरेपन",
            54: "चौवन",
            55: "पचपन",
            56: "छप्पन",
            57: "सत्तावन",
            58: "अट्ठावन/अठावन",
            59: "उनसठ",
            60: "साठ",
            61: "इकसठ",
            62: "बासठ",
            63: "तिरसठ/तिरेसठ",
            64: "चौंसठ/चौसठ",
            65: "पैंसठ",
            66: "छियासठ",
            67: "सड़सठ",
            68: "अड़सठ",
            69: "उनहत्तर",
            70: "सत्तर",
            71: "इकहत्तर",
            72: "बहत्तर",
            73: "तिहत्तर",
            74: "चौहत्तर",
            75: "पचहत्तर",
            76: "छिहत्तर",
            77: "सतहत्तर",
            78: "अठहत्तर",
            79: "उन्यासी/उनासी",
            80: "अस्सी",
            81: "इक्यासी",
            82: "बयासी",
            83: "तिरासी",
            84: "चौरासी",
            85: "पचासी",
            86: "छियासी",
            87: "सत्तासी",
            88: "अट्ठासी/अठासी",
            89: "नवासी",
            90: "नब्बे",
            91: "इक्यानवे",
            92: "बानवे",
            93: "तिरानवे",
            94: "चौरानवे",
            95: "पचानवे",
            96: "छियानवे",
            97: "सत्तानवे",
            98: "अट्ठानवे/अठानवे",
            99: "निन्यानवे",
            125: "सवा सौ",
            1250: "सवा हज़ार/सवा हजार",
            125000: "सवा लाख",
            12500000: "सवा करोड़",
        },
        counts=("दो", "तीन", "चार", "पाँच/पांच", "छह/छः", "सात", "आठ", "नौ", "दस", "ग्यारह", "बारह"),
        scales={
            "सौ": 100,
            "हज़ार": 1000,
            "हजार": 1000,
            "लाख": 10**5,
            "करोड़": 10**7,
            "अरब": 10**9,
            "मिलियन": 10**6,
            "बिलियन": 10**9,
        },
        refusals=(
            r"(क्षमा करें|माफ़ करें|माफ करें|मुझे खेद है)[^।]{0,30}(नहीं कर सक|असमर्थ|नहीं दे सक)",
            r"मैं .{0,40}(अनुवाद|सहायता|मदद|पहचान).{0,12}नहीं (कर|दे) सक",
            r"एक (एआई|AI|भाषा मॉडल|कृत्रिम बुद्धि)",
            r"(भाषा मॉडल|एआई मॉडल|AI मॉडल|कृत्रिम बुद्धिमत्ता)[^।]{0,30}(के रूप में|होने के नाते|हूँ|हूं)",
            r"(असमर्थ|अक्षम) (हूँ|हूं)",
            r"मैं[^।]{0,50}नहीं (कर|दे|देख|पहचान|बता) (सक|पा)",
        ),
        chatter=(
            r"(यहाँ|यहां|नीचे|ये|यह).{0,14}अनुवाद",
            r"^\s*(हिंदी |हिन्दी )?अनुवाद\s*:",
            r"^\s*(ज़रूर|जरूर|बिल्कुल|ठीक है)\s*[!,:।]",
            r"^\s*\(?(नोट|टिप्पणी)\s*:",
            r"आशा है",
            r"अनुवाद",
        ),
        offers=(
            r"(अगर|यदि) (आप|आपको)[^।]{0,60}(भेज|अपलोड|मदद|सहायता|बताएँ|बताएं|बताइए|ज़रूरत|जरूरत)",
            r"बेझिझक",
            r"(मुझे खुशी होगी|मुझे बताएँ|मुझे बताएं|मुझे बताइए)",
            r"उम्मीद है (कि )?(यह|इससे)",
        ),
        suspects={
            "gender_agreement": (
                r"(?:बड़ा|छोटा|अच्छा|काला|पीला|नीला|हरा|लंबा|मेरा|उसका|इसका|सुनहरा)\s+(?:लड़की|महिला|औरत|गाड़ी|कार|बिल्ली|मेज़?|कुर्सी|तस्वीर|किताब|"
                r"घड़ी|नदी|सड़क|इमारत|गेंद|बस|टोपी|साइकिल|ट्रेन|छतरी|दीवार|मछली|चिड़िया|बोतल|नाव)",
                r"(?:बड़ी|छोटी|अच्छी|काली|पीली|नीली|हरी|लंबी|मेरी|उसकी)\s+(?:लड़का|आदमी|कुत्ता|घर|पेड़|जूता|कमरा|रास्ता|पहाड़|फूल|दरवाज़ा|हाथी|घोड़ा|जहाज)",
                r"(?:महिला|लड़की|औरत|बिल्ली)\s[^।]{0,40}(?:रहा|गया|बैठा|खड़ा|पहना) (?:है|था)",
                r"(?:आदमी|लड़का|कुत्ता|व्यक्ति)\s[^।]{0,40}(?:रही|गई|बैठी|खड़ी) (?:है|थी)",
            )
        },
    ),
    Target(
        language=get_language("bn"),
        scripts=frozenset({"BENGALI"}),
        guidance=(
            "Write standard colloquial Bengali (চলিত ভাষা) and address the reader as আপনি; use honorific verb forms for adults "
            "where Bengali does.",
            "Use classifiers (টি, টা, জন, খানা) as natural; do not leave English words in Latin letters.",
            "End sentences with a danda (।).",
        ),
        length=(0.52, 1.46),
        characters_per_token=2.6,
        terminators="।॥…",
        full_stop="।",
        abbreviations=tuple(
            """ডা ড মি মিস মো মোসা কি সে খ্রি নং প্রফে অধ্যা প্রা লি পূ রু দ্র পৃ বি ডি এফ এইচ এল এম এন এস টি ডব্লিউ ডব্লু
            কিউ ওয়াই জেড""".split()
        ),
        initials=frozenset(
            "এ বি সি ডি ই এফ জি এইচ আই জে কে এল এম এন ও পি কিউ আর এস টি ইউ ভি ডব্লিউ ডব্লু এক্স ওয়াই জেড".split()
        ),
        foreign_letters="ৰৱ",
        numerals=(
            "শূন্য",
            "এক/প্রথম",
            "দু/দ্বিতীয়",
            "তিন/তৃতীয়",
            "চার/চতুর্থ",
            "পাঁচ/পঞ্চম",
            "ছয়/ছটি/ছ",
            "সাত",
            "আট",
            "নয়/ন'",
            "দশ",
            "এগার",
            "বার",
        ),
        more_numerals={
            -0.25: "পৌনে",
            0.25: "সিকি/সোয়া/সোয়া/চতুর্থাংশ",
            0.5: "অর্ধ/আধ/সাড়ে/সাড়ে",
            1.5: "দেড়/দেড়",
            2.5: "আড়াই/আড়াই",
            12: "ডজন/দ্বাদশ",
            13: "তের",
            14: "চৌদ্দ/চোদ্দ",
            15: "পনের",
            16: "ষোল",
            17: "সতের",
            18: "আঠার/আঠের",
            19: "উনিশ/ঊনিশ/ঊনবিংশ",
            20: "বিশ/কুড়ি/কুড়ি/বিংশ",
            21: "একুশ/একবিংশ",
            22: "বাইশ",
            23: "তেইশ",
            24: "চব্বিশ",
            25: "পঁচিশ",
            26: "ছাব্বিশ",
            27: "সাতাশ",
            28: "আটাশ",
            29: "ঊনত্রিশ/উনত্রিশ",
            30: "ত্রিশ/তিরিশ",
            31: "একত্রিশ",
            32: "বত্রিশ",
            33: "তেত্রিশ",
            34: "চৌত্রিশ",
            35: "পঁয়ত্রিশ",
            36: "ছত্রিশ",
            37: "সাঁইত্রিশ/সাইত্রিশ",
            38: "আটত্রিশ",
            39: "ঊনচল্লিশ/উনচল্লিশ",
            40: "চল্লিশ",
            41: "একচল্লিশ",
            42: "বিয়াল্লিশ/বেয়াল্লিশ",
            43: "তেতাল্লিশ",
            44: "চুয়াল্লিশ",
            45: "পঁয়তাল্লিশ",
            46: "ছেচল্লিশ",
            47: "সাতচল্লিশ",
            48: "আটচল্লিশ",
            49: "ঊনপঞ্চাশ/উনপঞ্চাশ",
            50: "পঞ্চাশ",
            51: "একান্ন",
            52: "বাহান্ন/বায়ান্ন",
            53: "তিপ্পান্ন",
            54: "চুয়ান্ন",
            55: "পঞ্চান্ন",
            56: "ছাপ্পান্ন",
            57: "সাতান্ন",
            58: "আটান্ন",
            59: "ঊনষাট/উনষাট",
            60: "ষাট",
            61: "একষট্টি",
            62: "বাষট্টি",
            63: "তেষট্টি",
            64: "চৌষট্টি",
            65: "পঁয়ষট্টি",
            66: "ছেষট্টি",
            67: "সাতষট্টি",
            68: "আটষট্টি",
            69: "ঊনসত্তর/উনসত্তর",
            70: "সত্তর",
            71: "একাত্তর",
            72: "বাহাত্তর",
            73: "তিয়াত্তর",
            74: "চুয়াত্তর",
            75: "পঁচাত্তর",
            76: "ছিয়াত্তর",
            77: "সাতাত্তর",
            78: "আটাত্তর",
            79: "ঊনআশি/উনআশি",
            80: "আশি",
            81: "একাশি",
            82: "বিরাশি",
            83: "তিরাশি",
            84: "চুরাশি",
            85: "পঁচাশি",
            86: "ছিয়াশি",
            87: "সাতাশি",
            88: "অষ্টাশি/আটাশি",
            89: "ঊননব্বই/উননব্বই",
            90: "নব্বই",
            91: "একানব্বই",
            92: "বিরানব্বই",
            93: "তিরানব্বই",
            94: "চুরানব্বই",
            95: "পঁচানব্বই",
            96: "ছিয়ানব্বই",
            97: "সাতানব্বই",
            98: "আটানব্বই",
            99: "নিরানব্বই",
            100: "একশ/শত",
            125: "সোয়া শ/সোয়াশ",
            125000: "সোয়া লাখ/সোয়া লক্ষ/সোয়া লাখ/সোয়া লক্ষ",
            12500000: "সোয়া কোটি/সোয়া কোটি",
        },
        counts=tuple(
            "/".join(f"{part}{classifier}" for part in parts.split("/") for classifier in ("", "টি", "টা", "জন"))
            for parts in ("দুই/দু", "তিন", "চার", "পাঁচ", "ছয়/ছ", "সাত", "আট", "নয়", "দশ", "এগারো", "বারো")
        ),
        scales={
            "শ": 100,
            "শত": 100,
            "হাজার": 1000,
            "লাখ": 10**5,
            "লক্ষ": 10**5,
            "কোটি": 10**7,
            "মিলিয়ন": 10**6,
            "বিলিয়ন": 10**9,
        },
        refusals=(
            r"(দুঃখিত|মাফ করবেন|ক্ষমা করবেন)[^।]{0,40}(পারছি না|পারি না|পারব না|অক্ষম)",
            r"আমি .{0,40}(অনুবাদ|সাহায্য|শনাক্ত).{0,14}(পারছি না|পারি না|পারব না)",
            r"একটি? (এআই|AI|ভাষা মডেল|কৃত্রিম বুদ্ধি)",
            r"(ভাষা মডেল|এআই মডেল|কৃত্রিম বুদ্ধিমত্তা)[^।]{0,30}(হিসেবে|হিসাবে|হওয়ায়)",
            r"(আমি|আমার পক্ষে)[^।]{0,60}(পারছি না|পারি না|পারব না|পারবো না|অক্ষম|অপারগ|সম্ভব নয়)",
        ),
        chatter=(
            r"(এখানে|নিচে|এই).{0,14}অনুবাদ",
            r"^\s*(বাংলা )?অনুবাদ\s*:",
            r"^\s*(অবশ্যই|নিশ্চয়ই|ঠিক আছে)\s*[!,:।]",
            r"^\s*\(?(দ্রষ্টব্য|নোট|বি\.দ্র\.)\s*:",
            r"আশা করি",
            r"অনুবাদ",
        ),
        offers=(
            r"(যদি|আপনি)[^।]{0,50}(ছবি|ছবিটি|অন্য)[^।]{0,20}(পাঠা|আপলোড|দিলে|দেন)",
            r"নির্দ্বিধায়",
            r"(আমাকে )?জানাবেন",
            r"সাহায্য (লাগলে|প্রয়োজন হলে|করতে পার)",
        ),
    ),
    Target(
        language=get_language("ur"),
        scripts=frozenset({"ARABIC"}),
        guidance=(
            "Write standard Urdu in Perso-Arabic script with Urdu letters (ی ک ہ ے ں ٹ ڈ ڑ), right to left; address the reader "
            "as آپ.",
            "Make adjectives, possessives and verbs agree in gender and number with their nouns.",
            "End statements with ۔ and use ، ؛ ؟: no space before a mark, one behind it.",
        ),
        length=(0.56, 1.60),
        characters_per_token=2.75,
        terminators="۔؟…",
        full_stop="۔",
        marks=_ARABIC_MARKS,
        letters={"ي": "ی", "ى": "ی", "ك": "ک", "ه": "ہ"},
        rivals=("ar",),
        frequent_words=frozenset("ہے ہیں کے کی کا میں اور سے کو پر ایک یہ".split()),
        neighbours=("fa",),
        frequent_elsewhere={
            "fa": frozenset("است در از با را این آن برای می روی ہای ہا شود کنار اش بود یک جلوی".split())
        },
        own_letters="ٹڈڑںےھ",
        foreign_spellings=r"(?<!\w)(?:است|نیست|چیست|کیست|کجاست|ن?می\u200c\w+|را|ہستند|دارند|دارد)(?!\w)",
        foreign_letters="ټډړږښځڅڼېۍڪٿٻڀڄڃڇڌڏڊڍڦڱڳڻەۆۇۈۋ",
        abbreviations=tuple("ڈاکٹر پروفیسر مسٹر مسز مس ایف ایچ ایم ایس ڈبلیو کیو زیڈ".split()),
        initials=frozenset(
            "الف اے بی سی ڈی ای ایف جی ایچ آئی جے کے ایل ایم این او پی کیو آر ایس ٹی یو وی ڈبلیو ایکس وائی زیڈ".split()
        ),
        numerals=(
            "صفر",
            "ایک/پہل",
            "دو",
            "تین/تیسر",
            "چار/چوتھ",
            "پانچ",
            "چھ",
            "سات",
            "آٹھ",
            "نو",
            "دس",
            "گیارہ",
            "بارہ",
        ),
        more_numerals={
            -0.25: "پونے",
            0.25: "چوتھائی/سوا",
            0.5: "آدھ/ساڑھے/نصف",
            0.75: "پون",
            1.5: "ڈیڑھ",
            2.5: "ڈھائی",
            12: "درجن",
            13: "تیرہ",
            14: "چودہ",
            15: "پندرہ",
            16: "سولہ",
            17: "سترہ",
            18: "اٹھارہ",
            19: "انیس",
            20: "بیس",
            21: "اکیس",
            22: "بائیس",
            23: "تئیس",
            24: "چوبیس",
            25: "پچیس",
            26: "چھبیس",
            27: "ستائیس",
            28: "اٹھائیس",
            29: "انتیس",
            30: "تیس",
            31: "اکتیس",
            32: "بتیس",
            33: "تینتیس",
            34: "چونتیس",
            35: "پینتیس",
            36: "چھتیس",
            37: "سینتیس",
            38: "اڑتیس",
            39: "انتالیس",
            40: "چالیس",
            41: "اکتالیس",
            42: "بیالیس",
            43: "تینتالیس",
            44: "چوالیس",
            45: "پینتالیس",
            46: "چھیالیس",
            47: "سینتالیس",
            48: "اڑتالیس",
            49: "انچاس",
            50: "پچاس",
            51: "اکاون",
            52: "باون",
            53: "ترپن",
            54: "چون",
            55: "پچپن",
            56: "چھپن",
            57: "ستاون",
            58: "اٹھاون",
            59: "انسٹھ",
            60: "ساٹھ",
            61: "اکسٹھ",
            62: "باسٹھ",
            63: "تریسٹھ",
            64: "چونسٹھ",
            65: "پینسٹھ",
            66: "چھیاسٹھ",
            67: "سڑسٹھ",
            68: "اڑسٹھ",
            69: "انہتر",
            70: "ستر",
            71: "اکہتر",
            72: "بہتر",
            73: "تہتر",
            74: "چوہتر",
            75: "پچھتر",
            76: "چھہتر",
            77: "ستتر",
            78: "اٹھہتر",
            79: "اناسی",
            80: "اسی",
            81: "اکیاسی",
            82: "بیاسی",
            83: "تراسی",
            84: "چوراسی",
            85: "پچاسی",
            86: "چھیاسی",
            87: "ستاسی",
            88: "اٹھاسی",
            89: "نواسی",
            90: "نوے",
            91: "اکانوے",
            92: "بانوے",
            93: "ترانوے",
            94: "چورانوے",
            95: "پچانوے",
            96: "چھیانوے",
            97: "ستانوے",
            98: "اٹھانوے",
            99: "ننانوے",
            125: "سوا سو",
            1250: "سوا ہزار",
            125000: "سوا لاکھ",
            12500000: "سوا کروڑ",
        },
        counts=("دو", "تین", "چار", "پانچ", "چھ", "سات", "آٹھ", "", "دس", "گیارہ", "بارہ"),
        scales={"سو": 100, "ہزار": 1000, "لاکھ": 10**5, "کروڑ": 10**7, "ملین": 10**6, "ارب": 10**9},
        refusals=(
            r"(معذرت|معاف کیجیے|معاف کریں|افسوس)[^۔]{0,40}(نہیں کر سک|قاصر|نہیں دے سک)",
            r"میں .{0,40}(ترجمہ|مدد|شناخت).{0,12}نہیں (کر|دے) سک",
            r"(بطور|ایک) (اے آئی|مصنوعی ذہانت|لسانی ماڈل|زبان کا ماڈل)",
            r"(زبان کا ماڈل|لسانی ماڈل|اے آئی ماڈل|مصنوعی ذہانت)[^۔]{0,30}(کے طور پر|ہونے کے ناطے|ہوں)",
            r"قاصر ہوں",
            r"میں[^۔]{0,50}نہیں (کر|دے|دیکھ|پہچان|بتا) (سک|پا)",
        ),
        chatter=(
            r"(یہ|یہاں|ذیل میں|درج ذیل).{0,14}ترجمہ",
            r"^\s*(اردو )?ترجمہ\s*:",
            r"^\s*(ضرور|بالکل|ٹھیک ہے)\s*[!،,:۔]",
            r"^\s*\(?(نوٹ|وضاحت)\s*:",
            r"امید ہے",
            r"ترجم[ہےو]",
        ),
        offers=(
            r"اگر (آپ|آپ کو)[^۔]{0,60}(بھیج|اپ ?لوڈ|مدد|بتائیں|ضرورت)",
            r"بلا ?جھجھک",
            r"(مجھے خوشی ہوگی|مجھے بتائیں|مجھے بتائیے)",
        ),
        suspects={
            "gender_agreement": (
                r"(?:بڑا|چھوٹا|اچھا|کالا|پیلا|نیلا|ہرا|لمبا|میرا|اس کا)\s+(?:لڑکی|عورت|خاتون|گاڑی|کار|بلی|میز|کرسی|تصویر|کتاب|گھڑی|سڑک|عمارت|"
                r"گیند|بس|ٹوپی|سائیکل|ٹرین|چھتری|دیوار|مچھلی|چڑیا|بوتل|کشتی)",
                r"(?:بڑی|چھوٹی|اچھی|کالی|پیلی|نیلی|ہری|لمبی|میری)\s+(?:لڑکا|آدمی|کتا|گھر|درخت|جوتا|کمرہ|راستہ|پہاڑ|پھول|دروازہ|ہاتھی|گھوڑا|جہاز)",
                r"(?:عورت|لڑکی|خاتون|بلی)\s[^۔]{0,40}(?:رہا|گیا|بیٹھا|کھڑا) (?:ہے|تھا)",
                r"(?:آدمی|لڑکا|کتا|شخص)\s[^۔]{0,40}(?:رہی|گئی|بیٹھی|کھڑی) (?:ہے|تھی)",
            )
        },
    ),
)

# Words that are spelt the same in both.
_ENGLISH_AND_GERMAN = frozenset(
    """also am an arena arm art as bad balance bald ball band bank best bin bitter blank blind block blond boot bot
    butter camera campus chaos code computer container cousin demo den des designer detail diagonal die dies
    digital dock doll dominant drone echo ego elegant elf experiment extra fair fall fan fand fast fern festival
    final finger fish fit flora form formal format fund gab garage garden gift global gold golden golfer grab halt
    hammer hand hang hell her hier hinter hit hob horizontal hotel hunger ideal illusion in instrument intelligent
    international jaguar job jogger kind kiosk kitten lag lamp land laptop last lava liberal lift lila limit links
    live log logo lose mag manager mast material maximal mega mild minimal minus mitten mixer mode modern moment
    monitor monument motor museum name national neon nest neutral normal not nun offline optimal option oral
    orchester original oval palette parallel park partner pause per person pilot pink pizza plan planet plastic
    plus pony pool post pro problem quiz radio rat real regional relevant reporter rest rose rot rucksack sack
    safari sage salon sand sank sauna scooter see sensor service silo skateboarder skyline snob snowboarder so
    sofa song souvenir sponsor sport spring start stern still studio such super surfer symbol system tablet tag
    tat team tee teenager tempo text tier tiger tolerant total tourist trainer transport trick tunnel uniform
    union update via video villa violet virus wagen wall war warm warmer was wasp water watt weg wild will wind
    winter wolf zebra zebras zombie zone""".split()
)

# No language of PALO's, and so not among `languages.LANGUAGES`: a target all the same.
_GERMAN = Language("de", "German", "Deutsch", "Latn", "ltr", "high")

_FURTHER_ENTRIES = (
    Target(
        language=_GERMAN,
        scripts=frozenset({"LATIN"}),
        guidance=(
            "Address the reader as 'Sie', with the capital letters that go with it.",
            "Capitalise nouns; make articles, adjectives and pronouns agree in gender, number and case with their nouns.",
            "Keep ä ö ü ß; write compounds as one word, use „ “ as quotation marks and a decimal comma.",
        ),
        length=(0.65, 1.82),
        characters_per_token=4.0,  # not measured: as French and Spanish
        terminators="…“",
        quotes=("„", "“"),
        rivals=("en", "fr"),
        neighbours=("nl", "sv", "da", "nb"),
        frequent_words=frozenset(
            """der das ein eine einen einem einer und ist sind im zu auf mit von für nicht auch sich dem den des es sie er
            ihr wird werden kann oder als aus bei nach über um wie dass zum zur durch steht gibt""".split()
        ),
        frequent_elsewhere={
            "nl": frozenset("het een en op van zijn naar aan te dat deze wordt niet ook".split()),
            "sv": frozenset("och är på av en ett som med inte till från att".split()),
            "da": frozenset("og på af en et som med ikke til fra at".split()),
            "fr": frozenset("le la les et dans est une avec du au qui sur elle".split()),
        },
        numerals=(
            "null",
            "ein/erst",
            "zwei/zwo",
            "drei/dritt",
            "vier",
            "fünf",
            "sechs",
            "sieben/siebt",
            "acht",
            "neun",
            "zehn",
            "elf",
            "zwölf",
        ),
        more_numerals={
            0.25: "viertel",
            0.5: "halb/hälfte",
            1: "einmal",
            1.5: "anderthalb/eineinhalb",
            2: "paar/doppel/beide/zwilling",
            13: "dreizehn",
            14: "vierzehn",
            15: "fünfzehn",
            16: "sechzehn",
            17: "siebzehn",
            18: "achtzehn",
            19: "neunzehn",
            20: "zwanzig",
            30: "dreißig/dreissig",
            40: "vierzig",
            50: "fünfzig",
            60: "sechzig",
            70: "siebzig",
            80: "achtzig",
            90: "neunzig",
        },
        counts=("zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"),
        scales={
            "hundert": 100,
            "tausend": 1000,
            "tsd": 1000,
            "million": 10**6,
            "millionen": 10**6,
            "mio": 10**6,
            "milliarde": 10**9,
            "milliarden": 10**9,
            "mrd": 10**9,
        },
        # German nouns have capitals: a small word of the source that stands there unchanged is English, but for these.
        english_spellings=r".",
        loanwords=_LOANS | _ENGLISH_AND_GERMAN,
        refusals=(
            r"(tut mir leid|entschuldigung|bedaure|leider)[^.]{0,40}kann ich[^.]{0,40}nicht",
            r"\bich kann (das|dies|diesen|diese|ihnen|dir)?[^.]{0,30}nicht (übersetzen|beantworten|helfen|bereitstellen|identifizieren)",
            r"als (eine? )?(ki|künstliche intelligenz|sprachmodell|assistent)\b",
        ),
        chatter=(
            r"hier ist (die|ihre|eine|deine) (deutsche )?übersetzung",
            r"^\s*(deutsche )?übersetzung\s*(ins deutsche|auf deutsch)?\s*:",
            r"^\s*(gerne|natürlich|sicher|selbstverständlich)\s*[!,:]",
            r"^\s*\(?(anmerkung|hinweis)( des übersetzers)?\s*:",
            r"ich hoffe, (das|dies) hilft",
        ),
        suspects={
            # Of feminine nouns only the article in the nominative or accusative tells; "die" may be a relative pronoun.
            "gender_agreement": (
                r"\b(?:das|ein|einen|den|einem|dem)\s+(?!\w*(?:sprung|schwung|stadion|champion|dung)\b)"
                r"\w+(?:ung|heit|keit|schaft|ion|tät)\b",
                r"\beine\s+\w{2,}(?:chen|lein)\b",
                r"\b(?:das|ein|einen|den)\s+(?:Frau|Katze|Straße|Lampe|Blume|Tasche|Brücke|Uhr|Tasse|Schüssel|Gabel)\b",
                r"\b(?:die|eine)\s+(?:Mann|Hund|Tisch|Stuhl|Baum|Haus|Kind|Pferd|Vogel|Teller|Löffel)\b",
            )
        },
    ),
)

TARGETS: dict[str, Target] = {target.code: target for target in _ENTRIES + _FURTHER_ENTRIES}


def get_target(code_or_name: str) -> Target:
    """Look a target language up by code or English name.

    Raises:
        ValueError: Records cannot be translated into it.
    """
    wanted = code_or_name.strip().lower()
    for target in TARGETS.values():
        if wanted in (target.code, target.language.name.lower()):
            return target
    known = ", ".join(f"{target.code} ({target.language.name})" for target in TARGETS.values())
    raise ValueError(f"Cannot translate into {code_or_name!r}: expected one of {known}.")

"""Words that carry more meaning than their likeness to others says. English, with what is short in other languages."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBERS: Final = {
    **{
        word: str(number)
        for number, word in enumerate(
            ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
        )
    },
    **{
        word: str(10 * number)
        for number, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
    },
    **{
        word: str(number)
        for number, word in enumerate(
            ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"], 1
        )
    },
    "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000",
    "half": "0.5", "quarter": "0.25", "dozen": "12", "double": "2", "twice": "2", "triple": "3", "once": "1",
    **{
        word: f"month {number}"
        for number, words in enumerate(
            (
                "january jan", "february feb", "march", "april apr", "june jun", "july jul", "august aug",
                "september sept sep", "october oct", "november nov", "december dec",
            )
        )
        for word in words.split()
    },
    **{
        word: f"day {number}"
        for number, word in enumerate(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"])
    },
}  # fmt: skip
"""What stands for a number or a date; `one` counts too, so that "one" and "another" differ."""

_UNITS: Final = (
    "km kms kilometer kilometers kilometre kilometres",
    "m meter meters metre metres",
    "cm centimeter centimeters centimetre centimetres",
    "mm millimeter millimeters millimetre millimetres",
    "mi mile miles",
    "ft foot feet",
    "in inch inches",
    "yd yard yards",
    "kg kgs kilo kilos kilogram kilograms",
    "g gram grams",
    "mg milligram milligrams",
    "lb lbs pound pounds",
    "oz ounce ounces",
    "t ton tons tonne tonnes",
    "l liter liters litre litres",
    "ml milliliter milliliters millilitre millilitres",
    "gal gallon gallons",
    "cup cups",
    "tbsp tablespoon tablespoons",
    "tsp teaspoon teaspoons",
    "s sec secs second seconds",
    "min mins minute minutes",
    "h hr hrs hour hours",
    "day days",
    "week weeks",
    "month months",
    "year years yr yrs",
    "decade decades",
    "century centuries",
    "ms millisecond milliseconds",
    "c celsius centigrade",
    "f fahrenheit",
    "k kelvin",
    "usd dollar dollars $",
    "eur euro euros €",
    "gbp sterling £",
    "jpy yen ¥",
    "% percent percentage",
    "b byte bytes",
    "kb kilobyte kilobytes",
    "mb megabyte megabytes",
    "gb gigabyte gigabytes",
    "tb terabyte terabytes",
    "w watt watts",
    "kw kilowatt kilowatts",
    "mph",
    "kph kmh",
    "am",
    "pm",
    "word words",
    "sentence sentences",
    "paragraph paragraphs",
    "page pages",
    "item items",
    "bullet bullets point points",
)
UNITS: Final = {word: words.split()[0] for words in _UNITS for word in words.split()}
"""Units, each by the name that all its spellings share."""
UNITS_WITHOUT_NUMBER: Final = frozenset(
    word for words in _UNITS for word in words.split() if len(word) > 2 and word not in {"second", "pound", "point"}
)  # fmt: skip
"""Those that say which unit is meant where no number stands before them: "in miles"."""

NEGATIONS: Final = _words(
    "not no never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent "
    "wont wouldnt shouldnt couldnt hasnt havent hadnt except excluding unless lacking avoid stop refuse fail fails "
    "failed hardly barely nicht kein keine keinen nie ohne pas jamais sans aucun ningún nunca sin não nunca sem non mai senza"
)
PREFIXES: Final = ("un", "non", "in", "im", "ir", "il", "dis", "de", "anti", "mis")
"""In front of a word that the other text has, they turn it round: `safe`, `unsafe`."""

_OPPOSITES: Final = """
before after|earlier later|pre post|min max|minimum maximum|minimize maximize|minimal maximal|enable disable
enabled disabled|enabling disabling|increase decrease|increasing decreasing|increased decreased|raise lower|raise reduce
increase reduce|grow shrink|more less|more fewer|most least|greater less|greater smaller|bigger smaller|larger smaller
biggest smallest|largest smallest|higher lower|highest lowest|high low|big small|large small|long short|longer shorter
longest shortest|fast slow|faster slower|fastest slowest|old new|older newer|oldest newest|oldest latest|first last
older younger|oldest youngest|old young
start stop|start end|starting ending|begin end|open close|opening closing|opened closed|open closed|on off|up down
upper lower|left right|top bottom|front back|in out|inside outside|into out|above below|over under|import export|encode decode
encrypt decrypt|compress decompress|serialize deserialize|push pull|read write|reading writing|send receive|sending receiving
buy sell|buying selling|lend borrow|give take|add remove|adding removing|add subtract|addition subtraction|multiply divide
insert delete|create delete|create destroy|create drop|install uninstall|upgrade downgrade|upload download|login logout
log sign|lock unlock|mount unmount|attach detach|connect disconnect|show hide|accept reject|accept decline|approve reject
allow deny|allow forbid|allow block|allow prevent|permit forbid|include exclude|including excluding|with without|win lose
pass fail|success failure|advantage disadvantage|advantages disadvantages|pros cons|benefits drawbacks|benefit risk
benefits risks|strengths weaknesses|strength weakness|best worst|better worse|good bad|positive negative|true false|yes no|right wrong
hot cold|warm cool|wet dry|hard soft|heavy light|rich poor|full empty|public private|internal external|input output
even odd|ascending descending|forward backward|forwards backwards|horizontal vertical|rows columns|row column|parent child
parents children|male female|man woman|men women|boy girl|boys girls|king queen|husband wife|mother father|brother sister
uncle aunt|day night|morning evening|summer winter|spring autumn|spring fall|north south|east west|northern southern
eastern western|today tomorrow|today yesterday|yesterday tomorrow|past future|same different|similar different
similarities differences|similarity difference|always never|all none|everyone nobody|everything nothing|many few
causes effects|cause effect|cause treatment|causes treatments|cause cure|symptoms causes|symptoms treatment|cause prevent
love hate|like dislike|live die|alive dead|birth death|born died|married divorced|happy sad|formal informal|legal illegal
singular plural|synonym antonym|synonyms antonyms|client server|frontend backend|sync async|synchronous asynchronous
mutable immutable|static dynamic|manual automatic|online offline|safe dangerous|cheap expensive|cheapest expensive
gain lose|gaining losing|strengthen weaken|expand contract|inhale exhale|arrive depart|arrival departure|arrivals departures
debit credit|asset liability|assets liabilities|profit loss|revenue expenses|supply demand|tcp udp|http https
"""
OPPOSITES: Final = frozenset(
    frozenset(pair.split()) for line in _OPPOSITES.strip().splitlines() for pair in line.split("|")
)

DIRECTIONS: Final = _words(
    "from into onto than over against beat beats beating before after towards toward versus vs minus divided through under"
)
"""Where one of these stands, it matters what is named before and what after it."""

PIVOTS: Final = _words("to about with for of on by in")
"""What stands between two words that change their places when it is turned round who does what to whom."""

GOALS: Final = _words("a an the my your his her our their me you him us them this that")
"""After `to` they say that something goes there; else `to` often only stands before a verb."""

QUESTIONS: Final = {
    **dict.fromkeys(("who", "whom", "whose"), "who"),
    "when": "when",
    "where": "where",
    "why": "why",
    "how": "how",
}
HOW: Final = _words(
    "many much long old far often big tall high deep fast large heavy late early hot cold wide"
)
"""After `how` they ask for something else than a way."""

FORMS: Final = _words(
    "json xml yaml csv html markdown latex table bullet bullets bulleted numbered outline poem haiku limerick sonnet rhyme song "
    "story essay email letter tweet function class script regex diagram tldr briefly brief concise detail detailed depth "
    "beginner beginners child kids five-year-old expert lowercase uppercase sentence paragraph"
)
"""What an answer is to look like."""

LANGUAGES: Final = _words(
    "python javascript typescript java rust go golang ruby php perl swift kotlin scala haskell elixir erlang clojure c "
    "c++ c# f# bash zsh powershell sql mysql postgres postgresql sqlite mongodb redis docker kubernetes linux windows macos ubuntu "
    "debian fedora android ios react vue angular svelte django flask fastapi rails spring numpy pandas pytorch tensorflow "
    "english german french spanish italian portuguese dutch russian chinese japanese korean arabic hindi turkish polish"
)
"""Names, although many write them small."""

SYNONYMS: Final = tuple(
    _words(line)
    for line in (
        "film movie",
        "car automobile",
        "way method technique approach manner",
        "fix repair resolve solve",
        "error bug issue problem",
        "write wrote written author",
        "height tall",
        "speed fast",
        "exit quit leave",
        "happen occur take place",
        "contact reach touch",
        "update change modify edit",
        "big large",
        "buy purchase",
        "begin start commence",
        "quick fast rapid",
        "make create build produce generate",
        "get obtain fetch retrieve",
        "show display list print",
        "explain describe clarify define",
        "tell say give name",
        "remove delete erase",
        "change alter modify",
        "safe safely",
        "word term",
        "difference distinction",
        "purpose goal aim point",
        "meaning definition mean define",
        "make made making",
        "write compose draft",
        "work function operate",
        "find locate discover search",
        "help assist",
        "kid child",
        "doctor physician",
        "picture image photo",
        "phone telephone",
        "city town",
        "job occupation",
        "choose pick select",
        "number count amount quantity",
        "reason cause why",
        "part component",
        "best optimal ideal top",
        "main primary principal chief key major",
        "necessary required needed essential",
        "use utilize employ using",
        "often frequently",
        "advantage benefit pro",
        "disadvantage drawback con downside",
        "learn study",
        "summarize summary summarise",
        "tip advice suggestion recommendation",
        "recommend suggest",
        "idea suggestion",
        "cook prepare make",
        "cost price",
        "keep store save",
        "convert transform turn change",
        "want wish need like",
        "type kind sort",
        "example sample instance",
    )
)
"""Words that may stand for each other."""

FILLERS: Final = _words(
    "a an the this that these those some any each every all both another other such what which who whom whose when where why how "
    "is are was were be been being am do does did doing done have has had having can could will would shall should may might must "
    "i me my mine you your yours he him his she her hers it its we us our ours they them their theirs one ones there here "
    "and or but if then so because as while although though since until of in on at by for with about between during to "
    "very just only own same also please kindly thanks thank hello hi hey ok okay let lets let's i'd i'm i've "
    "what's whats how's it's that's there's who's where's when's why's tell give show explain describe say discuss provide "
    "know need want wanna like looking trying try understand wondering wonder able exactly really actually simply "
    "someone somebody something anything thing things stuff me's don't doesn't isn't aren't wasn't can't won't wouldn't "
    "shouldn't couldn't didn't not no possible"
)
"""Words that a text could do without, or that other gates look at."""

COMMON: Final = FILLERS | _words(
    "into through before after above below from up down out off over under again further once than too now today tomorrow "
    "yes write list name find compute calculate create make help summarize summarise summary translate compare define suggest "
    "recommend generate draft compose rewrite rephrase convert identify outline state mention sort look curious teach walk "
    "break using use get got go going best good worst way ways steps step briefly quickly right currently remove delete add fix "
    "check return print read open close start stop install uninstall update buy sell set run cut copy move send plan cook "
    "meeting events event files file side reasons reason recipe recipes tips advice advantages disadvantages difference "
    "differences symptoms flights weather restaurants hotels migrate divide multiply advantage pros cons everyone everybody "
    "everything nobody nothing people person kind type types large largest"
)
"""Words that name nothing, and that many texts begin with."""

STOPWORDS: Final = {
    "en": _words(
        "the is are was were what how of to and in a an do does did can you i for with which who when where why it my should me"
    ),
    "de": _words(
        "der die das ist sind was wie von zu und ein eine kann ich du für mit welche wer warum es mein nicht"
    ),
    "fr": _words(
        "le la les est sont était quoi comment de du des et un une peut je tu pour avec quelle quel qui pourquoi que"
    ),
    "es": _words(
        "el la los las es son qué cómo de del y un una puede yo para con cuál quién por cuánto está"
    ),
    "it": _words("il lo gli è sono che come di del della e un una può io per con quale chi perché cosa"),
    "pt": _words("o os as é são que como de do da e um uma pode eu para com qual quem porque você não"),
    "nl": _words("de het is zijn wat hoe van en een kan ik je voor met welke wie waarom mijn niet"),
}
"""Enough to tell languages from each other that are written alike."""

"""The table that says how densely in time each kind of question has to look.

One row a kind of question: (name, pattern, demand, why). Patterns are matched in lower-cased text,
English with word boundaries, Chinese as plain substrings. The strongest row that matches decides
(see instruction.py); among equals the upper row names the reason.
To teach the policies a new kind of question, add a row here, labelled sentences to
tests/input_pipeline/frame_budget/instruction_cases.py, and raise the version of the index
(input_pipeline/index/prepare.py), which keeps what the rules said.
"""

import dataclasses
import re

DEMANDS = ("low", "low-medium", "medium", "high")
"""From "any frame that shows it will do" to "every half second may hold the answer"."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One kind of question: `pattern` in the text means at least `demand`, because of `why`."""

    name: str
    pattern: re.Pattern[str]
    demand: str
    why: str


def _rule(name: str, demand: str, why: str, *alternatives: str) -> Rule:
    return Rule(name, re.compile("|".join(f"(?:{a})" for a in alternatives)), demand, why)


# Things that happen rather than stand around: counting them means watching all the time.
_EVENT_NOUNS = (
    r"(?:jump|lap|round|goal|shot|step|hop|flip|spin|rotation|clap|punch(?:e)?|kick|bounce|rep|"
    r"repetition|cycle|push-?up|sit-?up|pull-?up|squat|cut|flash(?:e)?|blink|stroke|hit|throw|"
    r"catche?|pass(?:e)?|event|action|movement|attempt|wave|knock|tap|turn|trip|scene change|"
    r"collision|touche?|bite|sip|swing|dribble)s"
)
_EVENT_VERBS = (
    r"(?:enter|exit|leav|left|pass|cross|jump|fall|fell|hit|bounc|scor|appear|disappear|drop|throw|"
    r"thrown|kick|clap|spin|flip|happen|occur|tak(?:e|es|ing) place|perform|collid|explod|crash|"
    r"arriv|depart|fly|flies|roll|launch|catch|caught|pick|put|mov|remov|add|flash|blink|"
    r"swing|knock|walk|run|ran|rid|com|came|go|went|flew|land|opens|opened|turn|serv|finish|complet|"
    r"touch|receiv|win|won|miss)(?:e?s|e?d|ing|e)?"
)
# What is done to things while one watches, not the state they are in.
_DONE = (
    r"(?:are|were|is|was|get|gets|got|being|been) (?:cut|made|thrown|hit|sold|shot|taken|given|"
    r"eaten|broken|(?!(?:park|paint|dress|locat|seat|plac|us|stack|display|show|pictur|print|mention|"
    r"list|involv|need|mark|attach|cover|dy|light|nam|call|relat|tir|pleas|colou?r|ag)ed\b)\w{2,}ed)"
)
# "-ing" words that name things or states; all others are things going on.
_STILL = (
    r"(?:\w*thing|morning|evening|building|ceiling|king|ring|string|spring|painting|wing|clothing|"
    r"railing|wedding|setting|meeting|during|following|including|according|wearing|holding|"
    r"standing|sitting|lying|hanging|leaning|facing|resting|being|missing|boring|exciting|"
    r"interesting|playing|writing|speaking)"
)
_NUMBER = r"(?:two|three|four|five|six|seven|eight|nine|ten|several|\d+)"
_COLOURS = (
    r"(?:red|green|blue|yellow|orange|purple|pink|brown|black|white|gr[ae]y|beige|golden|silver)"
)
# One character of the same sentence. Runs of it are bounded, to keep matching time linear.
_SAME = r"[^.?!\n]"
_REST = rf"{_SAME}{{0,80}}"

FORM_ONLY = "state"
"""The rule that goes by a question's form and not by its words: answer options may know better."""

RULES: tuple[Rule, ...] = (
    _rule(
        "event_count",
        "high",
        "counts events",
        r"\bhow many (?:\w+ ){0,2}times\b|\bhow (?:often|frequently)\b|\bnumber of times\b",
        rf"\bhow many (?:[\w-]+ ){{0,3}}{_EVENT_NOUNS}\b",
        rf"\bhow many (?:(?!(?:in|on|at|near|with) )[\w-]+ ){{1,4}}{_EVENT_VERBS}\b",
        # "how many eggs does she crack", but not what she merely has, or what you can see
        rf"\bhow many (?:[\w-]+ ){{1,3}}(?:do|does|did)\b"
        rf"(?!{_REST}\b(?:have|own|wear|hold|see|show|contain)\b)",
        rf"\b(?:count|number of)\b{_SAME}{{0,30}}\b{_EVENT_NOUNS}\b",
        rf"\bhow many (?:[\w-]+ ){{1,3}}{_DONE}\b|\bhow many (?:[\w-]+ ){{1,3}}gets? (?:on|off)\b",
        rf"\b(?:every|each) (?:single )?{_EVENT_NOUNS[:-1]}\b",
        rf"\bonce or twice\b|\btwice\b|\b{_NUMBER} times\b(?! (?:as|bigger|larger|the size))",
        r"几次|多少次|几下|多少下|几遍|几圈|次数|几个来回",
        r"(?:做|跳|打|投|踢|拍|翻|转|喝|吃|扔|跑|走)了(?:几|多少)",
        r"(?:几|多少)[^，。？！\n]{1,6}(?:开过|经过|通过|走过|跑过|飞过|进入|离开|掉下)",
    ),
    _rule(
        "repetition",
        "high",
        "asks about repetition",
        r"\brepeat(?:s|ed|ing|edly)?\b|\brepetiti(?:on|ons|ve)\b|\brhythm(?:ic(?:al(?:ly)?)?)?\b|\bperiodic(?:ally)?\b",
        r"\b(?:over and over|again and again|back and forth)\b",
        r"重复|反复",
    ),
    _rule(
        "speed",
        "high",
        "asks about speed",
        r"\bhow (?:fast|slow|quick|quickly|slowly)\b|\bspeed(?:s|ing)?\b",
        r"\b(?:fast|slow)(?:er|est)\b",
        r"\b(?:ac|de)celerat\w+|\bslow(?:s|ed|ing)? down\b|\bslow[- ]motion\b|\btime[- ]?lapse\b",
        r"\bfast[- ]forward\w*|\bpace\b|\bquicker\b|\bvelocity\b|\bsped up\b|\btempo\b",
        r"\b(?:more )?(?:rapid|slow)ly\b",
        r"速度|多快|快慢|更快|更慢|加速|减速|慢动作|倍速",
    ),
    _rule(
        "brief_event",
        "high",
        "asks about a brief event",
        r"\bflash(?:es|ed|ing)?\b|\bblink(?:s|ed|ing)?\b|\bglimpses?\b|\bmomentar(?:y|ily)\b",
        r"\b(?:brief|split|quick)(?:ly)?[- ](?:moment|second|instant|appear\w*|flash\w*|show\w*)\b",
        r"\b(?:appear|show|shown|visible|seen)\w* (?:only )?(?:very )?(?:briefly|for an instant)\b",
        r"\bfor (?:only |just )?(?:a|an|one) (?:short|brief|split|single|instant|frame|moment)\b",
        r"\bsudden(?:ly)?\b|\binstant\b|\bblink of an eye\b|\bunexpectedly\b|\babruptly\b",
        r"\bbriefly (?:\w+ed|seen|shown)\b|\bfor a (?:brief |short )?moment\b|\bswiftly\b",
        r"\b(?:fraction of|less than|under) (?:a|one|half a) second\b",
        r"一闪|闪过|瞬间|突然|短暂|快速|迅速|飞快",
    ),
    _rule(
        "every_event",
        "high",
        "asks for every event",
        r"\b(?:every|each) (?:single )?(?:event|action|step|movement|change|activity|moment)\b",
        r"\ball (?:of )?(?:the )?(?:\w+ )?(?:events|actions|steps|movements|changes|activities)\b",
        r"\b(?:step|second|frame|moment|minute|play|blow)[- ]by[- ](?:step|second|frame|moment|"
        r"minute|play|blow)\b",
        r"\bchronolog\w+|\btimeline\b|\beverything that (?:happens|takes place|occurs)\b",
        r"每一步|每个(?:动作|步骤|事件)|所有(?:动作|步骤|事件)|逐步|按时间",
    ),
    _rule(
        "exact_time",
        "high",
        "asks for exact times",
        r"\btime ?stamps?\b|\b(?:at )?(?:what|which) (?:second|moment|point|minute)\b",
        r"\bat what time in the (?:video|clip)\b|\bstart and end times?\b",
        r"\bwhen (?:exactly|precisely)\b|\b(?:exact|precise) (?:time|moment|second)\b",
        r"\bthe time at which\b|\b(?:locate|find|pinpoint|mark) the (?:moment|second|time)\b",
        rf"\bwhen (?:do|does|did|is|are|was|were)\b{_REST}\b(?:start|begin|end|stop|happen|occur)",
        r"第几秒|什么时刻|时间戳|起止时间",
    ),
    _rule(
        "order",
        "medium",
        "order of events",
        r"\b(?:what|which|correct|right|same|reverse|temporal|following) order\b|\border of\b",
        r"\border in which\b|\bin order\b(?! to\b)|\bsequence\b|\bsuccessi(?:on|ve)\w*\b",
        r"\bfirst\b(?![- ](?:person|name|floor|aid))|\blast\b(?! name)|\bfinal(?:ly)?\b",
        r"\binitial(?:ly)?\b|\beventual(?:ly)?\b|\bsubsequent(?:ly)?\b|\bnext\b(?! to\b)|\bthen\b",
        r"\bsteps?\b(?! (?:stool|ladder))|\bprocedure\b|\bprocess\b",
        r"顺序|先后|依次|首先|最先|最后|最终|接着|然后|接下来|步骤|过程",
    ),
    _rule(
        "before_after",
        "medium",
        "before or after",
        r"\b(?:before|after(?:wards?)?|prior to|until|as soon as)\b|\bfollowing (?:this|that)\b",
        r"\b(?:earlier|later)\b(?! version)",
        r"\b(?:start|beginning|end|middle) of the (?:video|clip|scene|film|footage)\b",
        r"\b(?:at|in|by|toward|towards) the (?:very )?(?:start|beginning|end)\b",
        r"之前|之后|以前|以后|开头|开始时|结尾|结束时",
    ),
    _rule(
        "cause",
        "medium",
        "asks for a cause",
        r"\bwhy\b|\bcaus(?:e|es|ed|ing|al)\b|\breasons?\b|\bbecause\b|\bhow come\b",
        r"\bas a result\b|\bresult(?:s|ed)? (?:in|of|from)\b|\b(?:leads?|led) to\b",
        r"\bconsequences?\b|\bin response\b|\breact(?:s|ed|ion|ions)?\b",
        r"\bpurpose\b|\bintentions?\b",
        r"\bmotivat\w+|\bwhat if\b|\bwhat would\b",
        r"为什么|为何|原因|导致|因为|目的|结果",
    ),
    _rule(
        "outcome",
        "medium",
        "asks what happens",
        r"\bwhat(?:'s| is| was| has| had)? (?:happen|going on|taking place|unfold)\w*",
        r"\bwhat (?:will|might|could)\b|\bgoing to\b|\blikely to\b|\bpredict\w*|\boutcome\b",
        r"\bsucceed\w*|\bmanage[sd]? to\b|\b(?:what|which) events?\b",
        r"发生了?什么|会发生|将会|预测",
    ),
    _rule(
        "change",
        "medium",
        "asks about a change",
        r"\bchang(?:e|es|ed|ing)\b|\bbecom(?:e|es|ing)\b|\bbecame\b|\bturn(?:s|ed|ing)? into\b",
        r"\btransform\w*|\btransition\w*|\bevolv\w+|\bgradual(?:ly)?\b|\b(?:in|de)creas\w+",
        r"\b(?:grow|shrink|melt|dissolv|fad|expand)(?:s|es|ing|ed|e)?\b",
        r"变化|变成|变为|改变|逐渐",
    ),
    _rule(
        "duration",
        "medium",
        "asks how long",
        r"\bhow long\b(?! (?:is|are|was) the (?:hair|table|stick|rope))|\bduration\b",
        r"\bhow (?:much time|many (?:seconds|minutes))\b|\blast(?:s|ed)? (?:for|longer)\b",
        r"\b(?:longer|shorter) (?:time|than)\b",
        r"多久|多长时间|持续",
    ),
    _rule(
        "description",
        "medium",
        "describes the clip",
        r"\bcaption(?:s|ing)?\b|\bsummar(?:y|ies|i[sz]\w+)\b|\brecap\b|\brecount\b",
        r"\bnarrat(?:e|es|ed|ing|ion|ive)\b",
        r"\bstor(?:y|yline)\b|\bplot\b",
        rf"\b(?:describ|descript|explain|tell|depict)\w*\b{_SAME}{{0,60}}\b(?:video|clip|footage|"
        r"events?|happen\w*|actions?|activit\w+|going on|unfold\w*|tak\w+ place)\b",
        rf"\b(?:video|clip|footage)\b{_SAME}{{0,40}}\bdescri(?:be|ption)\w*",
        r"\bin (?:\w+ )?detail\b|\bdetailed\b|\belaborate\b",
        r"\bthroughout\b|\bover (?:the course of|time)\b",
        r"描述|概括|总结|详细|讲述|叙述|概述",
    ),
    _rule(
        "direction",
        "low-medium",
        "asks about motion",
        r"\bdirections?\b|\b(?:counter-?|anti-?)?clockwise\b|\btowards?\b|\baway from\b",
        r"\b(?:up|down|left|right|for|back)wards?\b|\bleft or right\b",
        r"\bto the (?:left|right)\b(?! of)",
        r"\bmov(?:e|es|ed|ing|ement|ements)\b|\bmotion\b|\brotat\w+|\btrajectory\b|\bheading\b",
        r"\bcamera (?:\w+ )?(?:pan|zoom|tilt|angle|follow)\w*|\bzoom(?:s|ing|ed)?\b|\bpans\b",
        rf"\bwhere\b{_REST}\b(?:go(?:es|ing|ne)?|went|ends? up|heads?|runs?|walks?|comes?|came)\b",
        r"(?:去|跑|走|飞|滚)了?到?哪",
        r"方向|移动|运动|朝|往哪|顺时针|逆时针|旋转",
    ),
    _rule(
        "action",
        "low-medium",
        "asks about an action",
        r"\bdoing\b|\bbusy\b|\b(?:do|does|did) with\b",
        rf"\b(?:what|which)\b{_SAME}{{0,60}}\b(?:do|done)\b",
        r"\bactions?\b|\bactivit(?:y|ies)\b|\bperform(?:s|ed|ing)?\b|\binteract\w*|\bgestur\w+",
        r"\bhow (?:do|does|did|is|are|was|were|to)\b(?! (?:\w+ ){0,4}(?:look|feel|dressed|called))",
        rf"(?:^|[.?!:\n]\s*)(?:is|are|was|were)\b{_REST}\b(?!{_STILL}\b)\w+ing\b",
        rf"\b(?:what|which)\b{_SAME}{{0,40}}\b(?:is|are|was|were)\b{_SAME}{{0,40}}"
        rf"\b(?!{_STILL}\b)\w+ing\b",
        rf"\b(?:does|do|did|has|have)\b{_SAME}{{0,40}}\b(?!left of\b){_EVENT_VERBS}\b",
        rf"\b(?:what|which)\b{_SAME}{{0,40}}\b{_DONE}\b",
        r"动作|行为|做什么|干什么|在做|怎么做|如何",
    ),
    _rule(
        "moment",
        "low-medium",
        "refers to a moment",
        r"\bwhen (?:the|he|she|they|it|a|an|his|her|their|someone|somebody|there)\b|\bwhile\b",
        r"\bduring\b(?! (?:the|this) (?:video|clip))|\bas (?:the|he|she|they|it)\b",
        r"的时候|时(?=[，,])",
    ),
    _rule(
        "object_count",
        "low-medium",
        "counts things",
        r"\bhow many\b|\b(?:the|total) number of\b|\bcount\b",
        r"(?<!是)多少(?!钱|岁|号)|几个|几只|几人|几位|几辆|数一数",
    ),
    _rule(
        "colour",
        "low",
        "asks for a colour",
        rf"\bcolou?r(?:s|ed)?\b|\bshades?\b|\bhues?\b|\b{_COLOURS} or {_COLOURS}\b",
        r"颜色|什么色",
    ),
    _rule(
        "text",
        "low",
        "asks for text or a number",
        rf"\b(?:what|which)\b{_SAME}{{0,40}}\b(?:text|words?|letters?|numbers?|digits?|brand|logo|"
        r"title|language|sign|score|price|company|symbol)\b",
        rf"\bwhat (?:do|does|did) the\b{_SAME}{{0,40}}\b(?:say|read)s?\b",
        r"\bwritten\b|\b(?:sign|label|text|banner|screen|jersey|board)s? (?:say|read|show)s?\b",
        r"\bread the\b|\bdigit\b|\bocr\b",
        r"文字|什么字|写着|数字|号码|标志|标题|牌子|品牌|价格|多少钱",
    ),
    _rule(
        "place",
        "low",
        "asks about the scene",
        r"\bwhere\b|\blocation\b|\b(?:in|out)doors?\b|\bweather\b|\bsetting\b|\bbackground\b",
        r"\bscene\b|\benvironment\b|\b(?:what|which) (?:room|place|city|country|season)\b",
        r"\btime of (?:the )?(?:day|year)\b",
        r"\b(?:sunny|rain(?:y|ing)|overcast|cloudy|snow(?:y|ing))\b",
        r"\b(?:set|filmed|shot) (?:in|on|at)\b|\bwhat part of the\b",
        r"哪里|在哪|地点|场景|背景|天气|室内|室外|海边|山上|街上",
    ),
    _rule(
        "identity",
        "low",
        "asks who it is",
        r"\bwho(?:se|m)?\b|\bgender\b|\bman or (?:a )?woman\b|\bcelebrity\b",
        r"\bname of\b|\bhow old\b",
        r"\boccupation\b|\bprofession\b|\bjob\b|\brelation(?:ship)?\b|\bwhich person\b",
        r"\b(?:fe)?male or (?:fe)?male\b",
        r"是谁|谁|性别|职业|名字|年龄",
    ),
    _rule(
        "object",
        "low",
        "asks about an object",
        r"\b(?:what|which) (?:\w+ )?(?:kinds?|types?|sorts?|objects?|animals?|foods?|vehicles?|"
        r"instruments?|sports?|tools?|items?|shapes?|patterns?|materials?|breeds?|fruits?)\b",
        r"\b(?:is|are) there\b|\bwearing\b|\bholding\b|\bmade of\b|\bshaped?\b|\bsize\b",
        r"\bwhat (?:is|are|was)(?: \w+){0,3} (?:on|in|under|behind|beside|near|above|next to)\b",
        r"\blooks? like\b|\bappearance\b|\bvisible\b|\bpresent in\b|\b(?:can|do) you see\b",
        r"\bhair\b|\bbeard\b|\bbald\b|\bglasses\b|\byoung or old\b|\bold or young\b|\bhow tall\b",
        r"\b(?:name|identify) the\b|\b(?:what|which) (?:\w+ )?(?:team|landmark|building)\b",
        r"什么(?:物体|东西|动物|车|食物|衣服|形状|材质)|有没有|是否有|穿着?|长什么样",
    ),
    _rule(
        "topic",
        "low",
        "asks for the topic",
        r"\b(?:mainly |mostly )?about\?|\btopic\b|\btheme\b|\bgenre\b|\bmood\b|\bcategory\b",
        r"\b(?:main|primary) (?:focus|subject|idea)\b|\b(?:what|which) (?:subject|theme|game)\b",
        r"\b(?:documentary|advert\w*|commercial|cartoon|vlog|tutorial)\b",
        r"主题|题材|风格|类型",
    ),
    # Last, so that a better reason is named where there is one.
    _rule(
        FORM_ONLY,
        "low",
        "asks how something is",
        rf"(?:^|[.?!:\n]\s*)(?:is|are|was|were) (?!{_REST}\b(?:by the|at the|now|any ?more|still|"
        rf"switched|turned|opened|closed|shut)\b){_REST}\?",
        r"\b(?:what|which) (?:[\w'-]+ ){0,5}(?:is|are|was|were|stands?|lies?|sits?|hangs?) "
        r"(?:the|in|on|at|under|inside|behind|beside|above|next|near|marked|to be|there)\b",
        r"\b(?:what|which) (?:[\w'-]+ ){1,5}(?:can be (?:found|seen)|found|located)\b",
        rf"\b(?:does|do) (?:the|this|that|these|those|his|her|any)\b{_SAME}{{0,40}}"
        r"\b(?:have|own|contain|include|wear|hold|belong)\b",
        rf"\b(?:what|which)\b{_SAME}{{0,40}}\b(?:does|do)\b{_SAME}{{0,40}}\b(?:have|own|wear)\b",
        r"(?:里|上|中|边|面)(?:还|都)?有(?:什么|哪些|[^？，。\n]{1,8}吗)",
    ),
)

BOILERPLATE: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # subtitles given with the question are material, not the question
        r"subtitles? (?:are|is) listed below:?.*?(?=\bselect the best\b|\bquestion:)",
        rf"\b(?:think|reason|explain your \w+)\b{_REST}\bstep[- ]by[- ]step\b",
        r"\b(?:before|after)\b (?:answering|responding|you answer|watching)\b[^.?!,\n]{0,80}",
        r"\b(?:(?:and )?then|finally|first),? (?:please )?(?:answer|respond|select|choose)\b",
        r"<(?:image|video)>",
    )
)
"""Text that is cut before the rules look: it says how to answer, not what to look for."""

BOILERPLATE_SENTENCE = re.compile(
    r"\bpay attention to\b|\bapply what you (?:have )?learned\b|\bquiz question\b|"
    r"\bimage for this question\b"
)
"""Sentences with such words are cut whole: they mention order, causes or ends in passing."""

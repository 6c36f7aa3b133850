"""The made-up shop of the sample: what it sells, its campaigns, and what its customers say about each topic.

Larch & Lantern sells things for outdoors and garden, in Wrenfield and online. Every topic has its own words, so that what
a customer cares about can be heard. In a sentence {thing} is a product, {place} a place, {who} a person of the customer's
and {dog} their dog.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One thing that people come for. The sentences are by intent: interest, purchase, support, complaint."""

    things: tuple[str, ...]
    places: tuple[str, ...]
    interest: tuple[str, ...]
    purchase: tuple[str, ...]
    support: tuple[str, ...]
    complaint: tuple[str, ...]


TOPICS = {
    "camping": Topic(
        things=("Larch 2 tent", "Larch 4 tent", "Hollow sleeping bag", "Drift sleeping mat", "Fen tarp", "Lull hammock"),
        places=("in the dunes", "at a small site by the lake", "on the moor", "at a festival", "in the pine woods", "on a farm campsite"),
        interest=(
            "We are planning four nights {place}. Would the Larch 2 tent stand up to real wind?",
            "Does the Larch 4 tent get damp inside? Last summer our old one dripped on us every morning.",
            "I sleep cold, even in August. Which sleeping bag would you take for a night {place}?",
            "How small does the {thing} pack? We come by train and carry all our camping gear.",
            "Is there room in the Larch 4 tent for two adults and {who}, or is that wishful thinking?",
            "My back is not what it was. Is the sleeping mat with the foam core really as soft as people say?",
            "What would you pitch {place} when the ground is too stony for ordinary pegs?",
            "Could I see the Larch 2 tent put up somewhere before I decide? Photos of tents all look alike.",
        ),
        purchase=(
            "I would like to order the {thing} and have it by Friday: we will be {place} all weekend.",
            "Please put one {thing} aside for me, I will pick it up at the Wrenfield shop on Saturday.",
            "We liked sleeping under canvas so much that we want a second {thing} for {who}.",
            "Is the Larch 4 tent still in the offer? Then I am taking it, with the matching groundsheet.",
            "I have had the {thing} in my basket for a week. Does the discount also cover spare tent pegs?",
        ),
        support=(
            "One pole of my tent split at the ferrule. Can I get just that section?",
            "How do I wash the tent without ruining the coating? It still smells of our week {place}.",
            "The zip on the inner tent sticks at the corner. Is there a trick, or should I send it in?",
            "The valve of my sleeping mat loses air by three in the morning. Which patch do I need?",
        ),
        complaint=(
            "The Fen tarp leaked at the seams on its very first night {place}. Rather disappointed.",
            "My tent arrived without guy lines, and we only noticed when we were already {place}.",
            "Second email about the sleeping bag that came with a broken zip. Please answer this time.",
        ),
    ),
    "hiking": Topic(
        things=("Tarn boots", "Tarn Light boots", "Cairn 38 rucksack", "Cairn 55 rucksack", "Skerry shell jacket", "Birch walking poles"),
        places=("the ridge path", "the coast path", "the long trail north", "the three summits", "the old drovers' road", "the high route"),
        interest=(
            "I am walking {place} in September, six days with a full rucksack. Boots or shoes?",
            "Do the Tarn boots come in a wide fit? Most hiking boots crush my toes going downhill.",
            "How long does it take to break in leather boots before something like {place}?",
            "Would the {thing} be too much for day walks with {who}, or a sensible choice?",
            "My knees complain on every descent. Do walking poles really help on {place}?",
            "What weighs less in the end, the {thing} or the model from last year?",
            "Is your shell jacket breathable enough to climb in, or will I be soaked from the inside?",
            "We did the first half of {place} at Easter and want to finish it. Which socks against blisters?",
        ),
        purchase=(
            "I tried the Tarn Light boots on in the shop and now I want them, please. Do you have a 43?",
            "Please send me the {thing}. What I had until now fell apart halfway along {place}.",
            "Can I book a rucksack fitting for Saturday and take the {thing} home the same day?",
            "Two pairs of trail socks and the {thing}, please, with delivery before we set off for {place}.",
            "The boot offer convinced me. I will take the {thing}, and wax for the leather as well.",
        ),
        support=(
            "The heel of my boots has worn down after {place}. Do you resole them?",
            "The hip belt of the rucksack slips when it is loaded. Am I threading the buckle wrongly?",
            "How often should I proof the shell jacket? Water no longer beads on the shoulders.",
            "My laces keep working loose on steep ground. Which knot do your walking guides use?",
        ),
        complaint=(
            "The sole of my boots came away after only three walks on {place}. That should not happen.",
            "I was told that the Tarn boots were waterproof. My socks after {place} say otherwise.",
            "I have been waiting two weeks for my rucksack repair and nobody calls back.",
        ),
    ),
    "camp kitchen": Topic(
        things=("Pebble stove", "Pebble Duo stove", "Ember grill", "Tinker pot set", "Morning Mist coffee press", "Kestrel kettle"),
        places=("on the beach", "at our allotment hut", "in the van", "up on a windy pass", "in the back garden", "by the campfire"),
        interest=(
            "Which stove boils water fastest {place}? I am no fun before my first coffee.",
            "Can I simmer a proper sauce on the Pebble Duo stove, or does it only know on and off?",
            "How many cups does the coffee press make? There are four of us and we all want seconds.",
            "Is a cast-iron pan worth its weight {place}, or will the pot set do for pancakes?",
            "What do you grind your beans with when you make coffee {place}?",
            "We grill with {who} most Sundays. Would the Ember grill hold food for six?",
            "Do you have a dark roast that still tastes good when it is brewed over a gas stove?",
            "How long does one gas cartridge last if I cook breakfast and supper every day?",
        ),
        purchase=(
            "I would like the {thing} and two gas cartridges, please. From Thursday we cook {place}.",
            "Please sign me up for the coffee beans every month, whole beans, the dark roast.",
            "Another bag of the breakfast beans, please. The last one was gone in ten days.",
            "Is the {thing} in stock in Wrenfield? I want to try it {place} this weekend, with {who}.",
            "I am getting the {thing} for my brother. Could you wrap it with a tin of ground coffee?",
        ),
        support=(
            "The flame of my stove has turned yellow and sooty. How do I clean the jet?",
            "The handle of the {thing} came loose. Which screw fits, and can you post me one?",
            "My coffee press leaves grounds in the cup. Is it the filter or the way I grind?",
            "Which gas cartridges fit the stove abroad? The ones I found have another thread.",
        ),
        complaint=(
            "The igniter of the stove gave up {place} after two evenings. Supper was cold beans.",
            "My coffee beans came a week late and the bag was already open.",
            "The non-stick coating of my camp pan is flaking. I do not want to eat that.",
        ),
    ),
    "cycling": Topic(
        things=("Swift commuter bike", "Magpie pannier", "Glow front light", "Drizzle cape", "Latch bike lock", "Pedal helmet"),
        places=("the station", "the office", "the school", "the library", "the market", "the clinic"),
        interest=(
            "I want to cycle to {place} all year. What keeps the rain off without cooking me?",
            "Is the commuter bike all right on wet cobbles? My route to {place} has plenty of them.",
            "How bright does a bike light have to be for the way to {place} after dark?",
            "Would a pannier hold a laptop and a change of clothes, and stay dry inside?",
            "Do you lend out the commuter bike for a day? I would like to try the ride to {place} first.",
            "Which lock would you trust in front of {place}? My last bike lasted three weeks.",
            "{Who} will be cycling with me from now on. Which helmet fits a small head?",
            "How much air should I ride with? On the way to {place} I keep getting punctures in the rear tyre.",
        ),
        purchase=(
            "I will take the {thing} in blue, please, and collect it on my way to {place}.",
            "Please reserve the {thing} from the ride-to-work offer for me until Friday.",
            "Could I have the front light and a set of mudguards fitted in one go at the workshop?",
            "My employer pays half of the commuter bike. How do I order it through the scheme?",
            "One more {thing} please, this time for the bike of {who}.",
        ),
        support=(
            "The gears jump whenever I climb the hill to {place}. Can your workshop look at them this week?",
            "The bracket of my bike light has cracked. Is that covered?",
            "Which brake pads fit my bike? The front ones squeal all the way to {place}.",
            "I lost both keys of my bike lock. What can you do with the number on the invoice?",
        ),
        complaint=(
            "My bike came back from the workshop worse than before, and I was late at {place} again.",
            "My pannier hook broke on the way to {place} and the laptop went into a puddle.",
            "The waterproof cape is not. I arrived at {place} dripping twice this week.",
        ),
    ),
    "garden": Topic(
        things=("Thrush raised bed", "Loam compost bin", "Sprout seed set", "Rill watering can", "Robin hand fork", "Meadow flower mix"),
        places=("on the balcony", "on the allotment", "in a shady yard", "in the front garden", "in the school garden", "in our clay soil"),
        interest=(
            "What still grows if I sow it now {place}? I was late with everything this year.",
            "Is the raised bed deep enough for carrots, or only for lettuce and herbs?",
            "Slugs have eaten every bean {place}. What do you use that will not hurt the hedgehogs?",
            "How much soil do I need to fill the raised bed? I would rather not carry bags twice.",
            "Which tomatoes ripen {place} with only half a day of sun?",
            "I would love a flower border that the bees like and that forgives a lazy gardener.",
            "Does the compost bin smell? It would stand rather close to the neighbours' terrace.",
            "I promised {who} that we would grow pumpkins {place}. Is it too late for seedlings?",
        ),
        purchase=(
            "Please deliver the {thing} and six bags of peat-free compost to the side gate.",
            "I would like two raised beds and the {thing}. Can I pick them up with a trailer?",
            "Are the autumn bulbs in yet? Then please put the {thing} on the same order.",
            "I will take the {thing}, and a packet of the late salad seeds to sow {place}.",
            "The garden offer came just in time: one {thing} for us and one for {who}.",
        ),
        support=(
            "The leaves of my courgettes are turning white. Is that mildew, and what helps?",
            "Two boards of the raised bed have warped in the heat. Can I order single boards?",
            "The rose of my watering can drips from the seam. Is there a new washer for it?",
            "Nothing has come up from the seed set {place} after three weeks. What did I do wrong?",
        ),
        complaint=(
            "Half of the seedlings arrived dead, and the other half will not make it {place}.",
            "The hand fork has rusted after one summer outdoors. It is a garden tool, after all.",
            "The compost was left on the pavement in the rain, not by the gate as agreed.",
        ),
    ),
    "water": Topic(
        things=("Otter paddle board", "Heron kayak", "Ripple dry bag", "Eddy buoyancy vest", "Teal wetsuit", "Mallard swim buoy"),
        places=("the reservoir", "the estuary", "the slow river", "the bay", "the weir pool", "the mountain lake"),
        interest=(
            "I have paddled on {place} a few times now and want a board of my own. Where do I start?",
            "How warm is the Teal wetsuit? I would like to swim in {place} until October.",
            "Could two of us and {who} sit in the kayak without getting wet feet?",
            "Does the paddle board fit into a small car, pump and all?",
            "Is the buoyancy vest comfortable for paddling, or does it push up under the chin?",
            "Which dry bag keeps a phone safe on {place}? Mine has met the water once already.",
            "Do you run beginners' evenings on {place}? I have never stood on a board.",
            "How do I choose a wetsuit when I am between two sizes?",
        ),
        purchase=(
            "The paddle board, please, and a spare fin. We want to be on {place} this weekend.",
            "I would like to rent the kayak for a day first and buy it if {who} likes it.",
            "Please keep the {thing} for me. I will come straight from {place} to fetch it.",
            "I will take the paddle board from the summer offer, with the carbon paddle.",
            "Do the swim buoy and the wetsuit come cheaper together? Then I want both.",
        ),
        support=(
            "My paddle board loses pressure overnight. How do I find the leak?",
            "The wetsuit tore at the knee on the rocks by {place}. Can it be glued?",
            "Which way round does the fin go? My board drifts to the left on {place}.",
            "How should I rinse the {thing} after salt water so that it lasts?",
        ),
        complaint=(
            "The pump of the paddle board broke before we even reached {place}. Day spoiled.",
            "My dry bag is anything but dry after an hour on {place}.",
            "I was sent a child's wetsuit instead of mine, and the exchange has taken three weeks so far.",
        ),
    ),
    "dogs": Topic(
        things=("Bramble dog harness", "Bramble dog coat", "Burrow travel bed", "Puddle dog bowl", "Rover long lead", "Rascal dog pack"),
        places=("on the heath", "in the forest", "along the river", "at the hill farm", "on the beach", "in the park"),
        interest=(
            "My {dog} pulls like a tractor {place}. Would the Bramble harness help?",
            "Which size of harness for a {dog} of eighteen kilos with a deep chest?",
            "Can a dog carry his own water on a long day {place}, and how heavy may the pack be?",
            "Is the dog coat warm enough for a short-haired {dog} that hates the cold?",
            "Does the travel bed survive a puppy who eats everything?",
            "How do other people keep ticks off their dog after a walk {place}?",
            "My old {dog} cannot manage long walks any more. Do you have anything to carry her?",
            "Is the long lead strong enough for recall training {place}?",
        ),
        purchase=(
            "The {thing} in medium, please. My {dog} has chewed through the last one.",
            "I would like to order the dog coat and the {thing} together if postage is free then.",
            "Do you still have the red harness? If so, one for my {dog}, size large.",
            "Please add a bag of the training treats to my order for the {thing}.",
            "Our {dog} turns ten on Sunday. I will take the {thing} as his birthday present.",
        ),
        support=(
            "The buckle of the harness rubs behind the leg of my {dog}. How should it sit?",
            "Can the dog bed go in the washing machine? Ours smells of too many wet naps {place}.",
            "My {dog} slipped out of the harness backwards {place}. Which strap do I tighten?",
            "The clip of the long lead is stiff with sand. What do I oil it with?",
        ),
        complaint=(
            "The dog coat lost its lining after two walks {place}. My {dog} looks like a sheep.",
            "The dog coat is much smaller than your size chart says. My {dog} cannot get into it.",
            "The lead snapped {place}. Nothing happened, but it could have.",
        ),
    ),
    "running": Topic(
        things=(
            "Hare trail shoes",
            "Hare Soft shoes",
            "Quill running vest",
            "Firefly head torch",
            "Breeze running cap",
            "Dash soft flasks",
        ),
        places=("the forest loop", "the half marathon", "the night race", "the fell race", "the river path", "the park run"),
        interest=(
            "I am training for {place} and my trail shoes have no grip left. What replaces them?",
            "How much drop do the Hare Soft shoes have? My calves are still sore from the last pair.",
            "Does the running vest bounce when both flasks are full?",
            "What do people eat during {place}? Gels upset my stomach.",
            "Is the head torch bright enough to run {place} without twisting an ankle?",
            "I started running in spring, and now {who} wants to come along. Which shoes for beginners?",
            "How many kilometres do your running shoes last on gravel?",
            "Do you still do the gait analysis on the treadmill? I overpronate, apparently.",
        ),
        purchase=(
            "The Hare trail shoes in 41, please. I need them before {place} on the 14th.",
            "I would like the running vest and two soft flasks sent to my office.",
            "Same trail shoes as for {place}, please, but half a size up.",
            "Does the runners' offer cover the {thing}? Then please put that aside for me.",
            "I ran {place} in borrowed shoes and loved it. Now I want my own {thing}.",
        ),
        support=(
            "The head torch flickers when I run. Is it the battery contact?",
            "How do I get the smell out of my running shoes after {place}?",
            "The bite valve of my soft flask drips down my back. Can I replace it?",
            "The laces of my trail shoes clog up with mud on {place}. Do you have the elastic ones?",
        ),
        complaint=(
            "The upper of my trail shoes tore at the toe on {place}, after barely 150 km.",
            "The running vest rubbed my shoulders raw on {place}. The pictures show it differently.",
            "My order for {place} arrived the day after the race.",
        ),
    ),
}

CAMPAIGNS = (
    ("c_101", "camping", "Tent Weeks", "15% off every tent, tarp and hammock, with a free groundsheet for the Larch 4."),
    ("c_102", "hiking", "Boots for the Long Way", "Hiking boots fitted by our walking guides, and the first resoling is on us."),
    ("c_103", "camp kitchen", "Cook Outside", "Stoves, grills and pots for cooking by the tent or in the garden, with two gas cartridges."),
    ("c_104", "camping", "Sleep Warm Outdoors", "Sleeping bags and mats at a set price: choose by how cold you sleep."),
    ("c_105", "cycling", "Ride to Work", "Commuter bikes, lights and locks through your employer's scheme, serviced free for a year."),
    ("c_106", "cycling", "Dry on Two Wheels", "Rain capes, mudguards and panniers for people who cycle in any weather."),
    ("c_107", "garden", "Raised Bed Season", "A raised bed, soil and seedlings in one delivery to your garden gate."),
    ("c_108", "garden", "Sow Late, Eat Well", "Seeds, compost and bulbs for everything that still grows from July on."),
    ("c_109", "water", "On the Water", "Paddle boards and kayaks with pump, paddle and buoyancy vest."),
    ("c_110", "water", "Wild Swimmers", "Wetsuits, swim buoys and dry bags for lakes and bays until October."),
    ("c_111", "dogs", "Good Walks, Good Dogs", "Harness, lead and travel bowl: three for two for every dog."),
    ("c_112", "dogs", "Warm Paws", "Dog coats and travel beds for puppies, old dogs and all that hate the cold."),
    ("c_113", "running", "Grip", "Trail shoes for running on mud and gravel, with a gait analysis on our treadmill."),
    ("c_114", "running", "Runners of the Night", "Head torches and running vests for dark evenings and long races."),
    ("c_115", "hiking", "Carry Less", "Rucksack fitting, walking poles and shell jackets for days on the trail."),
    (
        "c_116",
        "camp kitchen",
        "Bean Club",
        "Freshly roasted coffee beans every month, ground or whole, and a discount on the coffee press.",
    ),
    ("c_117", "hiking", "Spring Boot Swap", "Bring your worn hiking boots and get 30 off a new pair."),
    ("c_118", "water", "Learn to Paddle", "Beginners' evenings with a paddle board and a teacher on the reservoir."),
)
"""campaign_id, topic, name and description."""

CAMPAIGN_SETTINGS = {
    "c_101": {"priority": 5, "starts_at": "2026-05-15T00:00:00Z"},
    "c_105": {"channels": ["email", "store"]},
    "c_110": {"priority": 2},
    "c_112": {"audience": {"attributes": {"pet": ["dog"]}}},
    "c_113": {"starts_at": "2026-05-01"},
    "c_114": {"caps": [{"impressions": 3, "period_hours": 168}]},
    "c_116": {"channels": ["email", "app", "sms"], "repeatable": True, "requires_consent": ["email", "app", "sms"]},
    "c_117": {"status": "ended", "ends_at": "2026-06-21T00:00:00Z"},
    "c_118": {"status": "paused", "channels": ["web", "store"], "places": 12},
}
PAUSED_ON = {"c_118": "2026-07-12T00:00:00Z"}
GROUPS = {
    "camping": "summer_outdoors",
    "hiking": "summer_outdoors",
    "camp kitchen": "good_table",
    "garden": "good_table",
    "cycling": "on_the_move",
    "running": "on_the_move",
    "water": "by_the_water",
    "dogs": "by_the_water",
}
"""Campaigns are mailed by group: the letter about one topic is also the letter about the other."""

ANSWERS = {
    "interest": (
        "Thank you for asking. I have put two suggestions into your account, with photographs.",
        "Good question. Our colleagues on the shop floor use it themselves and would say yes.",
        "It depends a little on how often you are out. May I ring you this afternoon?",
        "We keep one to try in the Wrenfield shop. Shall I put it by for you on Saturday?",
    ),
    "purchase": (
        "It is reserved in your name until Saturday evening.",
        "Your order is packed and leaves us today; the tracking number follows by email.",
        "I have added the offer to your basket, so the discount shows at the checkout.",
    ),
    "support": (
        "That part is in our spares drawer. I am posting one to you today, free of charge.",
        "Bring it in whenever you like: the workshop is open until six and has a look at once.",
        "There is a short film about exactly that on our help page; I am sending you the link.",
        "Could you send me a photo of the spot? Then I can tell you whether we repair or replace it.",
    ),
    "complaint": (
        "I am sorry, that is not how it should be. A replacement is on its way.",
        "You are right to be annoyed. I have refunded the postage and am looking into it myself.",
        "That must have spoiled the day. Please keep the old one, we are sending a new one tomorrow.",
    ),
}

OPENERS = ("", "", "", "", "Hi, ", "Hello, ", "Good morning. ", "Quick question: ", "Hi there. ", "Me again. ", "Good evening. ")
CLOSERS = ("", "", "", "", " Thanks!", " Many thanks, {name}.", " Thank you.", " Best wishes, {name}.", " Cheers, {name}.")
NAMES = (
    "Ada",
    "Bela",
    "Carys",
    "Dunja",
    "Emil",
    "Farah",
    "Goran",
    "Hanne",
    "Idris",
    "Jonas",
    "Kaisa",
    "Lionel",
    "Marta",
    "Nadir",
    "Oona",
    "Piet",
)
PEOPLE = ("my daughter", "my son", "my partner", "a friend", "my father", "my sister", "our neighbour", "my mother")
DOGS = ("spaniel", "collie", "terrier", "greyhound", "labrador", "dachshund", "mongrel", "beagle")
